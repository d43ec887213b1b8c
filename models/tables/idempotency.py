"""What a POST with an Idempotency-Key has made."""

from sqlalchemy import Column, Index, Table, Text, Uuid, func
from sqlalchemy.dialects.postgresql import ARRAY

from models.tables.metadata import Moment, metadata

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", Text, primary_key=True),
    Column("request_sha256", Text, nullable=False),
    # No foreign key: the key outlives its jobs, and says then that they were deleted.
    Column("job_ids", ARRAY(Uuid), nullable=False),
    Column("created_at", Moment, nullable=False, server_default=func.clock_timestamp()),
)

Index("ix_idempotency_keys_created_at", idempotency_keys.c.created_at)
