"""What happened to a job (events) and what its trainer printed (logs)."""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, Table, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB

from models.tables.metadata import Moment, TransactionId, bare_job_key, metadata

events = Table(
    "events",
    metadata,
    bare_job_key(),
    # From progress.last_event, whose row every writer of the job holds locked: the ids of
    # a job commit in order.
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    # Across jobs the order is (xid, job_key, id), read below the oldest running transaction.
    Column("xid", TransactionId, nullable=False, server_default=text("pg_current_xact_id()")),
    Column("at", Moment, nullable=False, server_default=func.clock_timestamp()),
    Column("type", Text, nullable=False),
    Column("attempt", Integer),
    Column("data", JSONB, nullable=False),
    CheckConstraint(
        "type IN ('state', 'epoch', 'checkpoint', 'rewound', 'warning', 'edited')", name="type"
    ),
)
Index("ix_events_xid", events.c.xid, events.c.job_key, events.c.id)

logs = Table(
    "logs",
    metadata,
    bare_job_key(),
    Column("line", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False, server_default=func.clock_timestamp()),
    Column("attempt", Integer, nullable=False),
    Column("stream", Text, nullable=False),
    Column("text", Text, nullable=False),
    CheckConstraint("stream IN ('stdout', 'stderr')", name="stream"),
)
