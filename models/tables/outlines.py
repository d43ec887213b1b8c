"""A job's spec and plan without what is long: what searches read instead of `jobs`."""

from sqlalchemy import Column, Table
from sqlalchemy.dialects.postgresql import JSONB

from models.tables.metadata import job_key, metadata

# Whole specs and plans are compressed and lie apart, and unpacking a hundred thousand of them
# takes a second; these rows stay whole on their pages. Triggers on `jobs` write them, so no
# writer of a spec can forget to: 0003_search.sql.
outlines = Table(
    "outlines",
    metadata,
    job_key(),
    Column("spec", JSONB, nullable=False),
    Column("plan", JSONB, nullable=False),
    postgresql_with={"toast_tuple_target": "8160"},
)

LEFT_OUT = frozenset(
    {
        ("spec", "notes"),
        ("spec", "tags"),
        ("spec", "augment"),
        ("spec", "network", "layers"),
        ("spec", "loss", "weight"),
        ("spec", "init", "except"),
        ("plan", "network", "layers"),
        ("plan", "formula"),
        ("plan", "same_as"),
        ("plan", "warnings"),
    }
)
"""What has no bound that would keep a row small; the functions of 0003_search.sql leave it out."""
