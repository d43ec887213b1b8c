"""A worker process with real training: the book is whole, and a cancel is obeyed in time."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Row, func, select

from foundation.settings import Settings
from models.tables import artifacts, epochs, iterations, jobs, layer_readings
from services.broker import make_celery, ticket
from services.closing import loss_sha256
from services.database import transaction
from services.steering import cancel
from services.submission import draft_job, submit
from tests.bookings import attempts_of, job_of
from tests.processes import worker_process
from tests.versions import on_newest_postgres
from tests.waiting import wait_until

SOON = 90.0
CANCEL_SECONDS = 2.0

SMALL: dict[str, Any] = {
    "dataset": {"name": "digits", "train_samples": 200, "test_samples": 50},
    "network": {"name": "small_cnn"},
    "epochs": 3,
    "batch_size": 64,
    "record": {"layers_every": 5},
}
# One iteration takes many seconds on any CPU, and nobody can interrupt torch within it.
GIANT: dict[str, Any] = {
    "dataset": {"name": "synthetic", "shape": [3, 64, 64], "classes": 10, "train_samples": 4096},
    "network": {"name": "vgg11"},
    "epochs": 1,
    "batch_size": "full",
}


@contextlib.contextmanager
def posted(engine: Engine, settings: Settings, log: Path, spec: dict[str, Any]) -> Iterator[int]:
    """A worker that has the job of this spec; yields the job's key."""
    with worker_process(settings, log):
        with transaction(engine) as connection:
            (job,) = submit(connection, [draft_job(spec, settings.limits)])
            key = connection.scalar(select(jobs.c.key).where(jobs.c.id == job.id))
        assert key is not None
        ticket(make_celery(settings.broker), "default")
        yield key


def wait_for_end(engine: Engine, key: int) -> Row[Any]:
    return wait_until(
        lambda: job if (job := job_of(engine, key)).finished_at else None, SOON, "the end"
    )


def test_a_real_training_is_in_the_book_to_its_last_row(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    with posted(engine, settings, tmp_path / "log", SMALL) as key:
        job = wait_for_end(engine, key)
    assert (job.state, job.stop_reason, job.error) == ("succeeded", "epochs", None)
    assert job.iteration == job.rows == job.plan["iterations_total"] == 12
    with transaction(engine) as connection:
        assert loss_sha256(connection, key) == job.loss_sha256
        rows = connection.execute(
            select(iterations).where(iterations.c.job_key == key).order_by("iteration")
        ).all()
        closed = connection.execute(
            select(epochs).where(epochs.c.job_key == key).order_by("epoch")
        ).all()
        measured = connection.execute(
            select(layer_readings.c.iteration, func.count())
            .where(layer_readings.c.job_key == key)
            .group_by("iteration")
            .order_by("iteration")
        ).all()
        files = {
            row.name: row.sha256
            for row in connection.execute(select(artifacts.c.name, artifacts.c.sha256))
        }
    assert [row.samples for row in rows] == [64, 64, 64, 8] * 3
    assert [(row.first_iteration, row.last_iteration) for row in closed] == [
        (1, 4),
        (5, 8),
        (9, 12),
    ]
    layers = len(job.plan["network"]["layers"])
    assert measured == [(1, layers), (5, layers), (10, layers)]
    assert files["weights.safetensors"] == job.weights_sha256
    assert job.final_loss == rows[-1].loss
    (attempt,) = attempts_of(engine, key)
    assert (attempt.outcome, attempt.exit_code, attempt.last_iteration) == ("succeeded", 0, 12)
    assert attempt.environment["dataset_sha256"]


@on_newest_postgres
@pytest.mark.parametrize("rows", [0, 1], ids=["before the first iteration ends", "within a run"])
def test_a_cancel_is_obeyed_within_two_seconds_in_the_middle_of_a_giant_iteration(
    engine: Engine, settings: Settings, tmp_path: Path, rows: int
) -> None:
    spec = GIANT if rows == 0 else SMALL | {"epochs": 100_000}
    with posted(engine, settings, tmp_path / "log", spec) as key:
        wait_until(
            lambda: (job := job_of(engine, key)).phase == "train" and job.rows >= rows,
            SOON,
            "training",
        )
        started = time.monotonic()
        with transaction(engine) as connection:
            cancel(connection, job_of(engine, key).id)
        job = wait_for_end(engine, key)
        assert time.monotonic() - started < CANCEL_SECONDS
    assert (job.state, job.stop_reason) == ("cancelled", "cancelled")
    assert job.rows == job.iteration
    (attempt,) = attempts_of(engine, key)
    assert attempt.outcome == "cancelled"
    with transaction(engine) as connection:
        assert loss_sha256(connection, key) == job.loss_sha256
