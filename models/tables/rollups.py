"""Rollups: runs of 16, 64, 256, … rows drawn together, each written once when it is complete."""

from sqlalchemy import BigInteger, Column, Integer, SmallInteger, Table

from models.tables.metadata import Float64, bare_job_key, metadata


def _aggregates(prefix: str = "") -> list[Column[int] | Column[float]]:
    return [
        Column(f"{prefix}non_finite", Integer, nullable=False),
        Column(f"{prefix}min", Float64),
        Column(f"{prefix}max", Float64),
        Column(f"{prefix}sum", Float64, nullable=False),
    ]


rollups = Table(
    "rollups",
    metadata,
    bare_job_key(),
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),
    *_aggregates("loss_"),
    *_aggregates("lr_"),
    *_aggregates("seconds_"),
    # Every iteration has the others; this one is measured now and then.
    Column("grad_norm_first", BigInteger),
    Column("grad_norm_count", Integer, nullable=False),
    *_aggregates("grad_norm_"),
)

series_rollups = Table(
    "series_rollups",
    metadata,
    bare_job_key(),
    # Which one: services/series.py numbers them.
    Column("series", Integer, primary_key=True, autoincrement=False),
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),
    Column("first", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    *_aggregates(),
)
