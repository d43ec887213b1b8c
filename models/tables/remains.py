"""Jobs that are deleted, and whose rows in bulk are still to be removed."""

from sqlalchemy import BigInteger, Column, Integer, Table, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY

from models.tables.metadata import Moment, bare_job_key, metadata

leftovers = Table(
    "leftovers",
    metadata,
    # A trigger on `jobs` books what a job leaves, a row a table: 0004_leftovers.sql.
    bare_job_key(),
    Column("table_name", Text, primary_key=True),
    # The last key that is removed there: whoever looks for the next from the beginning wades
    # through all the dead ones.
    Column("reached", ARRAY(BigInteger)),
)

# What the release before has booked, for its own workers; the next migration drops it.
remains = Table(
    "remains",
    metadata,
    bare_job_key(),
    Column("place", Integer, nullable=False, server_default=text("0")),
    Column("reached", ARRAY(BigInteger)),
    Column("deleted_at", Moment, nullable=False, server_default=func.clock_timestamp()),
)
