"""The tables whose rows leave the database when a job is archived: each has a file of its own."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import pyarrow as pa
from sqlalchemy import Table

from models.domain.artifacts import ARCHIVED_ITERATIONS, ARCHIVED_LAYERS, ARCHIVED_METRICS
from models.tables import iterations, layer_readings, metric_values
from services.arrow_tables import schema_of_columns

JOB = b"gradbook.job"
"""The job's id, in what a file says about itself."""
NAMES = b"gradbook.metrics"
"""The metrics' names by their numbers, as JSON: for readers who have the file alone."""


@dataclass(frozen=True, slots=True)
class ArchivedTable:
    """A table, and the name of the file that has a job's rows of it, in the order of its key."""

    file_name: str
    table: Table

    @property
    def columns(self) -> tuple[str, ...]:
        """What the file has of a row: all but whose it is."""
        return tuple(column.name for column in self.table.c if column.name != "job_key")

    def schema(self, job_id: UUID, metrics: Mapping[int, str] | None = None) -> pa.Schema:
        """What is in the file: every column of a row, and whose they are; metrics by name, too."""
        columns = [self.table.c[name] for name in self.columns]
        words = {JOB: str(job_id).encode()}
        if metrics is not None:
            words[NAMES] = json.dumps(metrics).encode()
        return schema_of_columns(columns).with_metadata(words)


ITERATIONS = ArchivedTable(ARCHIVED_ITERATIONS, iterations)
LAYERS = ArchivedTable(ARCHIVED_LAYERS, layer_readings)
METRICS = ArchivedTable(ARCHIVED_METRICS, metric_values)
ARCHIVED = (ITERATIONS, LAYERS, METRICS)
