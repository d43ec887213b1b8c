"""A supervisor with a real trainer process: what it writes, and how attempts end."""

import hashlib
import signal
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, update

from foundation.settings import Settings
from models.domain.lifecycle import Wish
from models.tables import iterations, logs, progress
from services.closing import loss_sha256
from services.database import transaction
from tests.bookings import events_of
from tests.integration.supervised import SOON, attempt, gone, only_attempt, with_worker
from tests.pretenders import BATCHES, make_rows
from tests.versions import on_newest_postgres
from tests.waiting import wait_until

pytestmark = on_newest_postgres

CANCEL_SECONDS = 2.0


def number_in(note: Path) -> int:
    return int(note.read_text() or 0) if note.exists() else 0


def test_everything_that_a_training_tells_is_in_the_book(
    engine: Engine, settings: Settings
) -> None:
    with attempt(engine, settings, "steady", epochs=5) as run:
        job = run.wait()
    assert (job.state, job.stop_reason, job.rows, job.iteration) == ("succeeded", "epochs", 50, 50)
    assert (job.final_loss, job.test_accuracy, job.best_metric) == (1 / 50, 0.75, "train_loss")
    assert (job.phase, job.epoch, job.batch) == ("done", 5, BATCHES)
    assert job.iterations_per_second > 0
    assert job.running_seconds > 0
    losses = make_rows(1, 50)["loss"].tobytes()
    assert job.loss_sha256 == hashlib.sha256(losses).hexdigest()
    with transaction(engine) as connection:
        assert loss_sha256(connection, run.key) == job.loss_sha256
        printed = connection.execute(select(logs.c.stream, logs.c.text)).all()
    assert sorted(printed) == [("stderr", "and an error"), ("stdout", "hello from the trainer")]
    found = only_attempt(engine, run.key)
    assert (found.outcome, found.exit_code, found.signal) == ("succeeded", 0, None)
    assert (found.first_iteration, found.last_iteration) == (1, 50)
    assert (found.device_name, found.precision, found.torch) == ("test", "fp32", "none")
    events = events_of(engine, run.key)
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert [event.type for event in events].count("epoch") == 5


def test_the_files_of_superseded_checkpoints_are_deleted(
    engine: Engine, settings: Settings
) -> None:
    with attempt(engine, settings, "steady", epochs=5, checkpoint={"keep": 2}) as run:
        run.wait()
    folder = Path(settings.artifacts_url, str(run.claim.job_id), "1")
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint-40",
        "checkpoint-50",
        "weights.safetensors",
    ]


@pytest.mark.parametrize(
    ("train", "outcome", "reason", "rows", "error"),
    [
        ("killed", "killed", "attempts", 5, "Killed"),
        ("segfault", "error", "attempts", 2, "Crashed"),
        ("leaves_without_a_word", "error", "attempts", 0, "Crashed"),
        ("failing", "error", "error", 3, "RuntimeError"),
        ("out_of_memory", "out_of_memory", "attempts", 0, "OutOfMemory"),
        ("diverging", "diverged", "diverged", 3, "Diverged"),
        ("skipping", "error", "error", 2, "RowsBroken"),
        ("missing", "error", "error", 0, "AttributeError"),
    ],
)
def test_an_attempt_that_goes_wrong_keeps_its_rows_and_says_why(  # noqa: PLR0917
    engine: Engine,
    settings: Settings,
    train: str,
    outcome: str,
    reason: str,
    rows: int,
    error: str,
) -> None:
    with attempt(engine, settings, train, max_attempts=1) as run:
        job = run.wait()
    assert (job.state, job.stop_reason, job.rows) == ("failed", reason, rows)
    assert job.error["type"] == error
    assert len(job.error["message"]) <= 16_000
    assert "\x00" not in job.error["message"]
    found = only_attempt(engine, run.key)
    assert (found.outcome, found.last_iteration) == (outcome, rows or None)
    assert found.error == job.error
    if train == "killed":
        assert found.signal == signal.SIGKILL
    if train == "failing":
        assert "Traceback" in job.error["traceback"] or "x" in job.error["traceback"]


def test_a_trainer_that_reports_no_progress_is_ended_as_stalled(
    engine: Engine, settings: Settings
) -> None:
    with attempt(engine, with_worker(settings, stall_seconds=1.0), "deaf") as run:
        job = run.wait()
    assert (job.state, job.failures, job.error) == ("queued", 1, None)
    found = only_attempt(engine, run.key)
    assert (found.outcome, found.error["type"]) == ("stalled", "Stalled")


def test_a_cancel_ends_a_trainer_that_listens(engine: Engine, settings: Settings) -> None:
    with attempt(engine, settings, "endless", pause_seconds=0.01) as run:
        run.wait_for_rows()
        started = time.monotonic()
        run.wish(Wish.CANCEL)
        job = run.wait()
    assert time.monotonic() - started < CANCEL_SECONDS
    assert (job.state, job.stop_reason, job.wanted) == ("cancelled", "cancelled", None)
    found = only_attempt(engine, run.key)
    assert (found.outcome, found.exit_code, found.last_iteration) == ("cancelled", 0, job.rows)


@pytest.mark.parametrize("train", ["deaf", "deaf_at_load"])
def test_a_cancel_ends_a_trainer_that_hears_nothing_and_all_that_it_started(
    engine: Engine, settings: Settings, train: str
) -> None:
    note = settings.datasets_folder / "grandchild"
    with attempt(engine, settings, train) as run:
        pids = [run.pid]
        if train == "deaf":
            run.wait_for_rows()
            pids.append(wait_until(lambda: number_in(note), SOON, "a pid"))
        started = time.monotonic()
        run.wish(Wish.CANCEL)
        job = run.wait()
    assert time.monotonic() - started < CANCEL_SECONDS
    assert (job.state, job.stop_reason) == ("cancelled", "cancelled")
    assert only_attempt(engine, run.key).signal == signal.SIGKILL
    for pid in pids:
        wait_until(lambda pid=pid: gone(pid), 5, "the process is gone")  # type: ignore[misc]


def test_a_stop_lets_the_trainer_end_well(engine: Engine, settings: Settings) -> None:
    with attempt(engine, settings, "endless", pause_seconds=0.01) as run:
        run.wait_for_rows()
        run.wish(Wish.STOP)
        job = run.wait()
    assert (job.state, job.stop_reason) == ("succeeded", "stopped")


def test_an_attempt_that_lost_its_job_is_ended_and_writes_nothing_more(
    engine: Engine, settings: Settings
) -> None:
    with attempt(engine, settings, "endless", pause_seconds=0.01) as run:
        run.wait_for_rows()
        pid = run.pid
        with transaction(engine) as connection:
            connection.execute(update(progress).values(attempt=2))
            rows = connection.scalar(select(func.count()).select_from(iterations))
        job = run.wait()
    assert gone(pid)
    assert (job.state, job.rows) == ("running", rows)
    with transaction(engine) as connection:
        assert connection.scalar(select(func.count()).select_from(iterations)) == rows
