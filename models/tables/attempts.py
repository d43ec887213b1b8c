"""One try of a worker at a job."""

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB

from models.domain.lifecycle import Outcome
from models.tables.metadata import Float64, Moment, bare_job_key, metadata, one_of

attempts = Table(
    "attempts",
    metadata,
    bare_job_key(),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("worker", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("slot", Integer, nullable=False),
    # The trainer's process, and the database session that writes for it, for whoever looks into
    # pg_stat_activity. The reaper knows a session that holds a job by the row that it holds.
    Column("pid", Integer),
    Column("backend_pid", Integer),
    Column("backend_start", Moment),
    Column("device", Text, nullable=False),
    Column("device_name", Text),
    Column("precision", Text),
    Column("threads", Integer),
    Column("torch", Text),
    Column("environment", JSONB),
    Column("started_at", Moment, nullable=False, server_default=func.clock_timestamp()),
    Column("ended_at", Moment),
    Column("outcome", Text),
    Column("exit_code", Integer),
    Column("signal", Integer),
    Column("first_iteration", BigInteger),
    Column("last_iteration", BigInteger),
    # What a bad end was: type, message and traceback, where the job goes on all the same.
    Column("error", JSONB),
    # For the database, while it was away.
    Column("waited_seconds", Float64, nullable=False, server_default=text("0")),
    # The job's flushes when the attempt ended.
    Column("flushes", BigInteger),
    one_of("outcome", Outcome),
)

# A job has at most one attempt that has not ended.
Index(
    "uq_attempts_open",
    attempts.c.job_key,
    unique=True,
    postgresql_where=text("ended_at IS NULL"),
)
Index("ix_attempts_worker", attempts.c.worker, postgresql_where=text("ended_at IS NULL"))
