"""Jobs that are deleted, and whose rows in bulk are still to be removed."""

from sqlalchemy import BigInteger, Column, Integer, Table, func, text
from sqlalchemy.dialects.postgresql import ARRAY

from models.tables.metadata import Moment, bare_job_key, metadata

remains = Table(
    "remains",
    metadata,
    bare_job_key(),
    # Which table is being swept (its place in services/remains.py), and the last key that is
    # removed there: whoever looks for the next from the beginning wades through all the dead ones.
    Column("place", Integer, nullable=False, server_default=text("0")),
    Column("reached", ARRAY(BigInteger)),
    Column("deleted_at", Moment, nullable=False, server_default=func.clock_timestamp()),
)
