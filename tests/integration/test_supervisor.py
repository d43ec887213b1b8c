"""A supervisor with a real trainer process: what it writes, and how attempts end."""

import contextlib
import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, Row, func, select, text, update

from foundation.settings import DatabaseSettings, Settings
from models.domain.lifecycle import Wish
from models.tables import iterations, logs, progress
from services.claims import Slot, claim
from services.closing import loss_sha256
from services.database import make_engine, transaction
from tests.bookings import attempts_of, book_job, events_of, job_of
from tests.pretenders import BATCHES, make_rows
from tests.severed import severed_way
from tests.versions import on_newest_postgres
from tests.waiting import wait_until
from worker.forkserver import start_forkserver
from worker.line import Line
from worker.shutdown import Shutdown
from worker.supervisor import Supervisor

pytestmark = on_newest_postgres

CANCEL_SECONDS = 2.0
SOON = 30.0


@pytest.fixture(scope="module", autouse=True)
def _forkserver() -> None:
    assert start_forkserver() >= 0


class Attempt:
    """One attempt, seen through in a thread as a slot does."""

    def __init__(self, engine: Engine, settings: Settings, train: str, **spec: object) -> None:
        self._engine = engine
        self._line = Line(engine)
        self.shutdown = Shutdown(settings.worker.grace_seconds)
        with transaction(engine) as connection:
            self.key = book_job(connection, **spec)  # type: ignore[arg-type]
        with self._line.transaction() as connection:
            claimed = claim(connection, "default", Slot("w", "h", 0, "cpu"), 6.0)
        assert claimed is not None
        self.claim = claimed
        settings.datasets_folder.mkdir(parents=True, exist_ok=True)
        supervisor = Supervisor(
            claimed, self._line, settings, self.shutdown, train=f"tests.pretenders:{train}"
        )
        self._thread = threading.Thread(target=supervisor.run)
        self._thread.start()

    @property
    def job(self) -> Row[Any]:
        return job_of(self._engine, self.key)

    @property
    def pid(self) -> int:
        """The trainer's, once it is booked."""

        def booked() -> int | None:
            found: int | None = attempts_of(self._engine, self.key)[-1].pid
            return found

        return wait_until(booked, SOON, "a trainer's pid")

    def wait_for_rows(self, count: int = 1) -> None:
        wait_until(lambda: self.job.rows >= count, SOON, f"{count} rows")

    def wish(self, wish: Wish) -> None:
        with transaction(self._engine) as connection:
            connection.execute(
                update(progress)
                .where(progress.c.job_key == self.key, progress.c.attempt.is_not(None))
                .values(wanted=wish, wanted_at=func.clock_timestamp())
            )

    def wait(self, seconds: float = SOON) -> Row[Any]:
        """Wait for the end of the attempt; returns the job."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the supervisor is still at it"
        self._line.close()
        return self.job


@contextlib.contextmanager
def attempt(engine: Engine, settings: Settings, train: str, **spec: object) -> Iterator[Attempt]:
    made = Attempt(engine, settings, train, **spec)
    try:
        yield made
    finally:
        made.shutdown.begin()
        made._thread.join(SOON)
        made._line.close()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # Killed, and its new parent has not looked at it yet.
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def number_in(note: Path) -> int:
    return int(note.read_text() or 0) if note.exists() else 0


def only_attempt(engine: Engine, key: int) -> Row[Any]:
    (found,) = attempts_of(engine, key)
    return found


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
        ("segfault", "error", "error", 2, "Crashed"),
        ("leaves_without_a_word", "error", "error", 0, "Crashed"),
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
    with attempt(engine, settings, train) as run:
        job = run.wait()
    assert (job.state, job.stop_reason, job.rows) == ("failed", reason, rows)
    assert job.error["type"] == error
    assert len(job.error["message"]) <= 16_000
    assert "\x00" not in job.error["message"]
    found = only_attempt(engine, run.key)
    assert (found.outcome, found.last_iteration) == (outcome, rows or None)
    if train == "killed":
        assert found.signal == signal.SIGKILL
    if train == "failing":
        assert "Traceback" in job.error["traceback"] or "x" in job.error["traceback"]


def test_a_trainer_that_reports_no_progress_is_ended_as_stalled(
    engine: Engine, settings: Settings
) -> None:
    worker = settings.worker.model_copy(update={"stall_seconds": 1.0})
    impatient = settings.model_copy(update={"worker": worker})
    with attempt(engine, impatient, "deaf") as run:
        job = run.wait()
    assert (job.state, job.stop_reason, job.error["type"]) == ("failed", "attempts", "Stalled")
    assert only_attempt(engine, run.key).outcome == "stalled"


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


def test_a_worker_that_leaves_puts_the_job_back_without_its_rows(
    engine: Engine, settings: Settings
) -> None:
    with attempt(engine, settings, "deaf") as run:
        run.wait_for_rows()
        run.shutdown.begin()
        job = run.wait(5)
    assert (job.state, job.rows, job.iteration, job.failures) == ("queued", 0, 0, 0)
    assert only_attempt(engine, run.key).outcome == "preempted"


def test_a_database_that_goes_away_for_a_moment_loses_no_row(
    engine: Engine, settings: Settings
) -> None:
    others = text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with attempt(engine, settings, "steady", epochs=30, pause_seconds=0.005) as run:
        for rows in (10, 60, 110):
            run.wait_for_rows(rows)
            with transaction(engine) as connection:
                connection.execute(others)
        job = run.wait()
    assert (job.state, job.rows) == ("succeeded", 300)
    with transaction(engine) as connection:
        assert loss_sha256(connection, run.key) == job.loss_sha256
    found = only_attempt(engine, run.key)
    assert found.outcome == "succeeded"


def test_a_commit_whose_answer_is_lost_is_not_made_twice(
    engine: Engine, settings: Settings, database_url: str
) -> None:
    with severed_way(database_url) as way:
        theirs = make_engine(DatabaseSettings(url=SecretStr(way.url)), application_name="severed")
        with attempt(theirs, settings, "steady", epochs=20, pause_seconds=0.01) as run:
            for lost, rows in ((1, 5), (2, 60), (3, 120)):
                wait_until(lambda rows=rows: job_of(engine, run.key).rows >= rows, SOON, "rows")  # type: ignore[misc]
                way.lose_the_next_commit()
                wait_until(lambda lost=lost: way.lost == lost, SOON, "a lost commit")  # type: ignore[misc]
            job = run.wait()
        theirs.dispose()
    assert (job.state, job.rows) == ("succeeded", 200)
    with transaction(engine) as connection:
        assert loss_sha256(connection, run.key) == job.loss_sha256
    events = events_of(engine, run.key)
    assert [event.id for event in events] == list(range(1, len(events) + 1))


def test_the_end_is_not_written_twice_where_its_answer_is_lost(
    engine: Engine, settings: Settings, database_url: str
) -> None:
    with severed_way(database_url) as way:
        theirs = make_engine(DatabaseSettings(url=SecretStr(way.url)), application_name="severed")
        with attempt(theirs, settings, "deaf_at_load") as run:
            os.kill(run.pid, signal.SIGKILL)
            way.lose_the_next_commit()
            job = run.wait()
            assert way.lost == 1
        theirs.dispose()
    assert job.state == "failed"
    assert [event.type for event in events_of(engine, run.key)].count("state") == 3
