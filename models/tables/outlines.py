"""A job's spec and plan without what is long or usual: what searches read instead of `jobs`.

Whole specs and plans are compressed and lie apart: unpacking those of a hundred thousand jobs takes
a second. These rows are short, stay whole on their pages, and are read through in a tenth of that.
Triggers on `jobs` write them, so no writer of a spec can forget to: 0003_search.sql.

A network's layers are long, and many jobs have the same. `network` is a hash of that part of the
document: layers are unpacked once a network, out of the first of its jobs (0007_networks.sql).
"""

from collections.abc import Mapping
from types import MappingProxyType

from pydantic import JsonValue
from sqlalchemy import Column, Index, Table, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from models.tables.metadata import job_key, metadata

spec_outlines = Table(
    "spec_outlines",
    metadata,
    job_key(),
    Column("spec", JSONB, nullable=False),
    Column("network", Uuid),
)

plan_outlines = Table(
    "plan_outlines",
    metadata,
    job_key(),
    Column("plan", JSONB, nullable=False),
    Column("network", Uuid),
)

Index("ix_spec_outlines_network", spec_outlines.c.network, spec_outlines.c.job_key)
Index("ix_plan_outlines_network", plan_outlines.c.network, plan_outlines.c.job_key)

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
"""What has no bound that would keep a row short."""

USUAL: Mapping[str, JsonValue] = MappingProxyType(
    {
        "spec_version": 1,
        "name": "",
        "project": "default",
        "parent": None,
        "priority": 0,
        "queue": "default",
        "max_attempts": 3,
        "init": {"name": "default"},
        "loss": {"name": "cross_entropy", "label_smoothing": 0.0, "weight": None},
        "drop_last": False,
        "micro_batch_size": None,
        "schedule": {"name": "constant", "warmup_iterations": 0},
        "grad_clip": None,
        "stop": {
            "target_loss": None,
            "target_on": "train_loss",
            "patience_epochs": None,
            "min_delta": 0.0,
            "max_iterations": None,
            "max_seconds": None,
            "on_non_finite": "fail",
        },
        "monitor": {"metric": "auto", "mode": "auto"},
        "evaluate": {"every_epochs": 1, "batch_size": None},
        "checkpoint": {"every_seconds": 60.0, "keep": 2, "keep_best": "auto"},
        "record": {"grad_norm_every": 10, "layers_every": 50},
        "device": "auto",
        "devices": 1,
        "precision": "auto",
        "compile": False,
        "seed": 0,
        "deterministic": True,
        "threads": 1,
    }
)
"""Parts of a spec that are not written down where they are just this; one that a spec does not have
is written as null. They need not be today's defaults: other values only make rows longer. But who
changes them here and in 0003_search.sql has to write all outlines anew."""
