"""Curves of many jobs in one call cost as many statements as those of two."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import Engine, delete, func, select, text

from foundation.settings import Settings
from models.domain.lifecycle import Outcome, StopReason
from models.domain.metrics import MetricKind
from models.tables import iterations, layer_readings, metric_values, rollups, series_rollups
from services.archive import Archives
from services.archiving import want
from services.claims import Slot, claim
from services.curves import Curve, CurveQuery, read_curves
from services.database import snapshot, transaction
from services.endings import Ending, end_attempt
from services.pages import LayerReading, Page
from services.recording import Owner, flush
from tests.archived import archiver
from tests.bookings import book_job
from tests.measured import block_of
from tests.pretenders import BATCHES, epoch_of, make_rows, reading

JOBS, ROWS, EVERY = 50, 400, 5
LAYERS = [{"name": f"conv{number}", "kind": "conv", "parameters": 8} for number in (1, 2, 3)]
MOST_STATEMENTS = 16
SERIES = (
    "loss",
    "lr",
    "seconds",
    "grad_norm",
    "epoch.train_loss",
    "epoch.batches",
    "layers.conv1.grad_norm",
    "layers.conv3.error_share",
    "metrics.each",
    "metrics.never",
)


class Counting(psycopg.Cursor[Any]):
    """A cursor that counts what all of them execute."""

    executed = 0

    def execute(self, *asked: Any, **how: Any) -> "Counting":  # noqa: ANN401 - handed on
        Counting.executed += 1
        super().execute(*asked, **how)
        return self


def write_jobs(engine: Engine, count: int, *, ended: bool = False) -> list[UUID]:
    """Write jobs with all that is drawn, no two alike; some out of their rhythm."""
    for number in range(count):
        write_job(engine, number, ended=ended)
    with transaction(engine) as connection:
        return list(connection.execute(text("SELECT id FROM jobs ORDER BY key")).scalars())


def write_job(engine: Engine, number: int, *, ended: bool) -> None:
    rows = make_rows(1, ROWS)
    rows["loss"] += number
    rows["grad_norm"] = rows["iteration"] + number
    # Every third job measures when it likes.
    rows["has_grad_norm"] = rows["iteration"] % (97 if number % 3 == 0 else 50) == 0
    rows["has_grad_norm"][0] = True
    measured = [1, *range(EVERY, ROWS + 1, EVERY)]
    layers = [LayerReading(at, [reading(at + number), reading(1.0), reading(2)]) for at in measured]
    metrics = ((at, {"each": float(at * number)}, MetricKind.ITERATION) for at in range(1, ROWS))
    page = Page(
        rows=rows,
        epochs=[epoch_of(epoch) for epoch in range(1, ROWS // BATCHES + 1)],
        layers=layers,
        layers_every=EVERY,
        metrics=block_of(*metrics),
    )
    record = {"grad_norm_every": 50, "layers_every": EVERY}
    with transaction(engine) as connection:
        key = book_job(connection, record=record)
        connection.execute(
            text("UPDATE jobs SET plan = plan || :network WHERE key = :key"),
            {"network": Jsonb({"network": {"layers": LAYERS}}), "key": key},
        )
        claimed = claim(connection, "default", Slot("w", "h", 0, "cpu"), 60)
        assert claimed is not None
        owner = Owner(key, claimed.attempt, 60)
        flush(connection, owner, page)
        if ended:
            end_attempt(connection, owner, Page(), Ending(Outcome.SUCCEEDED, StopReason.EPOCHS))
            want(connection, key)


def read(
    engine: Engine, ids: Sequence[UUID], query: CurveQuery, store: str
) -> tuple[list[Curve], int]:
    """The curves, and how many statements they have cost."""
    with snapshot(engine) as connection:
        driver: Any = connection.connection.driver_connection
        driver.cursor_factory = Counting
        before = Counting.executed
        try:
            curves = read_curves(connection, ids, query, Archives(store))
            return curves, Counting.executed - before
        finally:
            driver.cursor_factory = psycopg.Cursor


def parts_of(curve: Curve) -> list[object]:
    arrays = (curve.parts.first, curve.parts.count, curve.parts.min, curve.parts.max, curve.mean())
    return [curve.job_id, curve.bucket, *(each.tolist() for each in arrays)]


def test_fifty_curves_cost_as_many_statements_as_two(engine: Engine) -> None:
    ids = write_jobs(engine, JOBS)
    assert len(ids) == JOBS
    for points in (10, 1_000):
        check(engine, ids, points)
    with transaction(engine) as connection:
        for table in (rollups, series_rollups):
            assert connection.execute(delete(table).where(table.c.level > 0)).rowcount
    check(engine, ids, 10)


def test_a_dozen_curves_of_archived_jobs_cost_as_many_statements_as_two(
    engine: Engine, tmp_path: Path
) -> None:
    ids = write_jobs(engine, 12, ended=True)
    settings = Settings(home=tmp_path)
    # A look takes so many jobs, and leaves the others to the next one.
    for _ in range(2):
        archiver(engine, settings).look()
    with transaction(engine) as connection:
        for table in (iterations, layer_readings, metric_values):
            assert connection.scalar(select(func.count()).select_from(table)) == 0
    for points in (10, 1_000):
        check(engine, ids, points, settings.artifacts_url)


def check(engine: Engine, ids: Sequence[UUID], points: int, store: str = "/nowhere") -> None:
    for series in SERIES:
        query = CurveQuery(series, points=points)
        many, statements = read(engine, ids, query, store)
        two, of_two = read(engine, ids[:2], query, store)
        assert (series, statements) == (series, of_two)
        assert statements <= MOST_STATEMENTS, series
        assert np.all([len(each.parts.count) <= points for each in many])
        assert list(map(parts_of, many[:2])) == list(map(parts_of, two))
        alone, _ = read(engine, [ids[-1]], query, store)
        assert parts_of(alone[0]) == parts_of(many[-1]), series
