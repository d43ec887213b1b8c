"""The tables as SQLAlchemy Core sees them; migrations/ makes them, a test holds the two equal."""

from models.tables.archives import archives
from models.tables.attempts import attempts
from models.tables.files import artifacts, checkpoints
from models.tables.happenings import events, logs
from models.tables.idempotency import idempotency_keys
from models.tables.jobs import jobs, progress, summaries
from models.tables.metadata import metadata
from models.tables.metrics import metric_values, metrics
from models.tables.outlines import plan_outlines, spec_outlines
from models.tables.readings import epochs, iterations, layer_readings
from models.tables.remains import leftovers, remains
from models.tables.rollups import rollups, series_rollups
from models.tables.workers import workers

__all__ = [
    "archives",
    "artifacts",
    "attempts",
    "checkpoints",
    "epochs",
    "events",
    "idempotency_keys",
    "iterations",
    "jobs",
    "layer_readings",
    "leftovers",
    "logs",
    "metadata",
    "metric_values",
    "metrics",
    "plan_outlines",
    "progress",
    "remains",
    "rollups",
    "series_rollups",
    "spec_outlines",
    "summaries",
    "workers",
]
