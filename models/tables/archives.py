"""Jobs whose rows are to lie in files, or do."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Table, Text, func, text

from models.tables.metadata import Moment, job_key, metadata

archives = Table(
    "archives",
    metadata,
    job_key(),
    Column("wanted_at", Moment, nullable=False, server_default=func.clock_timestamp()),
    # Why the wish was refused: then it is not tried again until somebody asks again.
    Column("refused", Text),
    # Up to this iteration the rows are removed from the tables; the files have them.
    Column("removed_to", BigInteger, nullable=False, server_default=text("0")),
    # When all that there was to do was done.
    Column("settled_at", Moment),
    CheckConstraint("refused IS NULL OR settled_at IS NULL", name="refused_or_settled"),
)
Index(
    "ix_archives_unsettled",
    archives.c.wanted_at,
    postgresql_where=text("settled_at IS NULL AND refused IS NULL"),
)
