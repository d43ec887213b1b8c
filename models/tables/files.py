"""Files that belong to a job. One that no row names does not exist for the service."""

from sqlalchemy import BigInteger, Column, Integer, Table, Text, func

from models.tables.metadata import Moment, job_key, metadata

artifacts = Table(
    "artifacts",
    metadata,
    job_key(),
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("uri", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("created_at", Moment, nullable=False, server_default=func.clock_timestamp()),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    job_key(),
    Column("iteration", BigInteger, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("uri", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("created_at", Moment, nullable=False, server_default=func.clock_timestamp()),
)
