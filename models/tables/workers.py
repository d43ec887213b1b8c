"""The fleet: a row a worker, renewed by its own heartbeat."""

from sqlalchemy import Column, Integer, Table, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from models.tables.metadata import Moment, metadata

workers = Table(
    "workers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("slots", Integer, nullable=False),
    # One a slot: "cpu" or "cuda:N".
    Column("devices", JSONB, nullable=False),
    Column("queues", ARRAY(Text), nullable=False),
    # The packages whose code a job may name here, and of each what it defines: see
    # services/offers.py.
    Column("packages", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("entrypoints", JSONB, nullable=False, server_default=text("'{}'")),
    Column("started_at", Moment, nullable=False, server_default=func.clock_timestamp()),
    Column("last_seen", Moment, nullable=False, server_default=func.clock_timestamp()),
)
