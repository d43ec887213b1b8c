"""Metrics of a trainer's own: a row a name, and a row a value."""

from sqlalchemy import BigInteger, Column, Integer, Table, Text, UniqueConstraint

from models.domain.metrics import MetricKind
from models.tables.metadata import Float64, bare_job_key, job_key, metadata, one_of

metrics = Table(
    "metrics",
    metadata,
    job_key(),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("non_finite", BigInteger, nullable=False),
    Column("last", Float64, nullable=False),
    # Over the finite values; null where there is none.
    Column("min", Float64),
    Column("max", Float64),
    Column("last_iteration", BigInteger, nullable=False),
    UniqueConstraint("job_key", "name"),
    one_of("kind", MetricKind),
    # A flush updates these rows and no index holds what it changes: see `progress`.
    postgresql_with={"fillfactor": "50"},
)

metric_values = Table(
    "metric_values",
    metadata,
    bare_job_key(),
    Column("metric", Integer, primary_key=True, autoincrement=False),
    Column("iteration", BigInteger, primary_key=True, autoincrement=False),
    # Counted from 1 within the metric.
    Column("ordinal", BigInteger, nullable=False),
    Column("value", Float64, nullable=False),
)
