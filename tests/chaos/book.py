"""Everything that the database holds of a job, as one snapshot shows it."""

import contextlib
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Engine, Row, RowMapping, Table, func, select

from models.tables import (
    artifacts,
    attempts,
    checkpoints,
    epochs,
    events,
    iterations,
    jobs,
    layer_readings,
    metric_values,
    metrics,
    progress,
    rollups,
    summaries,
)
from services.database import snapshot
from worker.line import OUTAGES

T = TypeVar("T")

PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.1

Rows = Sequence[Row[Any]]
Numbers = npt.NDArray[Any]

COLUMNS = np.dtype(
    [
        ("iteration", "<i8"),
        ("epoch", "<i8"),
        ("batch", "<i8"),
        ("samples", "<i8"),
        ("loss", "<f8"),
        ("lr", "<f8"),
        ("grad_norm", "<f8"),
    ]
)
"""What of an iteration the same training gives again; a norm that was not measured is NaN."""


@dataclass(frozen=True)
class Book:
    """One job, whole.

    Args:
        now: the database's clock.
        job: its row of `jobs`.
        progress: its row of `progress`.
        summary: its row of `summaries`.
        iterations: in order.
        epochs: in order.
        rollups: in the order of level and bucket.
        layers: in the order of iteration and position.
        metrics: in the order of their numbers.
        metric_values: in the order of metric and iteration.
        attempts: in order.
        events: in order.
        checkpoints: the oldest first.
        artifacts: by name.

    """

    now: datetime
    job: Row[Any]
    progress: Row[Any]
    summary: Row[Any]
    iterations: Numbers
    rollups: Rows
    epochs: Rows
    layers: Rows
    metrics: Sequence[RowMapping]
    metric_values: Rows
    attempts: Rows
    events: Rows
    checkpoints: Rows
    artifacts: dict[str, Row[Any]]

    @property
    def title(self) -> str:
        return f"{self.job.name} {self.job.id} ({self.job.state})"

    def values_of(self, metric: RowMapping) -> Rows:
        return [row for row in self.metric_values if row.metric == metric["number"]]


def ask(engine: Engine, work: Callable[[Connection], T]) -> T:
    """Read in one snapshot; where the database is just away, ask again for a while."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        with contextlib.suppress(*OUTAGES), snapshot(engine) as connection:
            return work(connection)
        assert time.monotonic() < deadline, "the database stays away"
        time.sleep(PAUSE_SECONDS)


def read_books(engine: Engine, ids: Collection[str]) -> list[Book]:
    """Read the jobs of these ids, all in one snapshot."""
    wanted = select(jobs).where(jobs.c.id.in_(ids)).order_by(jobs.c.key)
    return ask(
        engine,
        lambda connection: [_read(connection, job) for job in connection.execute(wanted).all()],
    )


def read_book(engine: Engine, job_id: str) -> Book:
    (book,) = read_books(engine, [job_id])
    return book


def _read(connection: Connection, job: Row[Any]) -> Book:
    def rows(table: Table, *order: str) -> Rows:
        return connection.execute(
            select(table)
            .where(table.c.job_key == job.key)
            .order_by(*(table.c[name] for name in order))
        ).all()

    (where_it_stands,), (summary,) = rows(progress), rows(summaries)
    return Book(
        now=connection.execute(select(func.clock_timestamp())).scalar_one(),
        job=job,
        progress=where_it_stands,
        summary=summary,
        iterations=_numbers(connection, job.key),
        rollups=rows(rollups, "level", "bucket"),
        epochs=rows(epochs, "epoch"),
        layers=rows(layer_readings, "iteration", "position"),
        metrics=connection.execute(
            select(metrics).where(metrics.c.job_key == job.key).order_by(metrics.c.number)
        )
        .mappings()
        .all(),
        metric_values=rows(metric_values, "metric", "iteration"),
        attempts=rows(attempts, "number"),
        events=rows(events, "id"),
        checkpoints=rows(checkpoints, "iteration", "attempt"),
        artifacts={row.name: row for row in rows(artifacts, "name")},
    )


def _numbers(connection: Connection, key: int) -> Numbers:
    names = COLUMNS.names or ()
    found = connection.execute(
        select(*(iterations.c[name] for name in names))
        .where(iterations.c.job_key == key)
        .order_by(iterations.c.iteration)
    )
    missing = float("nan")
    rows = [tuple(missing if cell is None else cell for cell in row) for row in found]
    return np.array(rows, dtype=COLUMNS)
