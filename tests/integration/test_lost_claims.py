"""A claim whose commit was not answered: its fate is read from the book before anything else."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import OperationalError

from cli.stack.postgres import EmbeddedPostgres
from foundation.settings import DatabaseSettings, Settings
from migrations.run import migrate
from services.claims import Claim, Slot, claim, take_over
from services.database import make_engine, transaction
from services.fleet import Worker
from services.reaping import reap
from tests.bookings import attempts_of, book_job, events_of, job_of
from tests.integration.supervised import SOON, only_attempt
from tests.severed import Way, severed_way
from tests.versions import on_newest_postgres
from tests.waiting import wait_until
from worker.forkserver import start_forkserver
from worker.shutdown import Shutdown
from worker.workshop import Workshop

LEASE_SECONDS = 6.0
MINE = Slot("me", "here", 0, "cpu")
ME = Worker("me", "here", 1, ["cpu"], ["default"])


@pytest.fixture(scope="module", autouse=True)
def _forkserver() -> None:
    assert start_forkserver() >= 0


@pytest.fixture
def way(database_url: str) -> Iterator[Way]:
    with severed_way(database_url) as made:
        yield made


def _engine_to(url: str) -> Engine:
    return make_engine(DatabaseSettings(url=SecretStr(url)), application_name="workshop")


def _book(engine: Engine, **spec: object) -> int:
    with transaction(engine) as connection:
        return book_job(connection, **spec)  # type: ignore[arg-type]


def _claim(engine: Engine, slot: Slot = MINE, *, commit: bool = True) -> Claim:
    with engine.connect() as connection:
        claimed = claim(connection, "default", slot, LEASE_SECONDS)
        if commit:
            connection.commit()
    assert claimed is not None
    return claimed


def _take_over(engine: Engine, claimed: Claim, slot: Slot = MINE) -> bool:
    with transaction(engine) as connection:
        return take_over(connection, claimed, slot, LEASE_SECONDS)


def test_a_claim_that_was_committed_is_taken_over_with_a_new_lease(engine: Engine) -> None:
    key = _book(engine)
    claimed = _claim(engine)
    assert claimed.started_at == only_attempt(engine, key).started_at
    with transaction(engine) as connection:
        connection.execute(text("UPDATE progress SET lease_until = clock_timestamp()"))
        connection.execute(text("UPDATE attempts SET backend_pid = 1"))
    # Twice: the commit of this one may be lost, too.
    assert _take_over(engine, claimed)
    assert _take_over(engine, claimed)
    with transaction(engine) as connection:
        left = text("SELECT lease_until > clock_timestamp() + interval '3 s' FROM progress")
        assert connection.scalar(left)
    assert only_attempt(engine, key).backend_pid != 1


def test_a_number_that_a_lost_claim_left_to_another_is_not_taken_for_its_own(
    engine: Engine,
) -> None:
    key = _book(engine)
    lost = _claim(engine, commit=False)
    theirs = Slot("other", "there", 0, "cpu")
    assert _claim(engine, theirs).attempt == lost.attempt
    before = job_of(engine, key).lease_until
    assert not _take_over(engine, lost)
    # Not even where the other calls itself the same, as a worker does that was started again.
    assert not _take_over(engine, lost, theirs)
    assert job_of(engine, key).lease_until == before


def test_a_claim_that_still_runs_is_waited_for(engine: Engine) -> None:
    _book(engine)
    with engine.connect() as connection:
        claimed = claim(connection, "default", MINE, LEASE_SECONDS)
        assert claimed is not None
        with pytest.raises(OperationalError) as held:
            _take_over(engine, claimed)
        assert getattr(held.value.orig, "sqlstate", None) == "55P03"
        connection.commit()
    assert _take_over(engine, claimed)


class Slots:
    """A workshop of one slot, whose ticket is taken by a thread."""

    def __init__(self, engine: Engine, settings: Settings, grace_seconds: float = SOON) -> None:
        settings.datasets_folder.mkdir(parents=True, exist_ok=True)
        self.shutdown = Shutdown(grace_seconds)
        self.workshop = Workshop(
            settings,
            engine,
            ME,
            self.shutdown,
            pass_on=lambda _: None,
            hand_over=lambda _: None,
            train="tests.pretenders:steady",
        )
        self._thread = threading.Thread()

    def take_a_ticket(self) -> None:
        self._thread = threading.Thread(target=self.workshop.work, args=("default",))
        self._thread.start()

    def wait(self, seconds: float = SOON) -> None:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the slot is still at it"
        assert self.workshop.free_devices == {"cpu"}

    def end(self) -> None:
        self.shutdown.begin()
        if self._thread.ident is not None:
            self._thread.join(SOON)


@contextlib.contextmanager
def _slots(url: str, settings: Settings, grace_seconds: float = SOON) -> Iterator[Slots]:
    engine = _engine_to(url)
    made = Slots(engine, settings, grace_seconds)
    try:
        yield made
    finally:
        made.end()
        engine.dispose()


def _wait_until_claimed(engine: Engine, key: int) -> None:
    wait_until(lambda: job_of(engine, key).state == "running", SOON, "the claim is committed")


@on_newest_postgres
def test_a_job_whose_claim_was_not_answered_is_run_once(
    engine: Engine, settings: Settings, way: Way
) -> None:
    key = _book(engine, max_attempts=1)
    with _slots(way.url, settings) as slots:
        way.lose_the_next_commit()
        slots.take_a_ticket()
        slots.wait()
    assert way.lost == 1
    job = job_of(engine, key)
    assert (job.state, job.failures, job.attempts_made, job.rows) == ("succeeded", 0, 1, 20)
    assert only_attempt(engine, key).outcome == "succeeded"
    moves = [each.data["to"] for each in events_of(engine, key) if each.type == "state"]
    assert moves == ["queued", "running", "succeeded"]


@on_newest_postgres
def test_a_claim_is_taken_over_after_its_lease_where_nobody_has_reaped_it(
    engine: Engine, settings: Settings, way: Way
) -> None:
    key = _book(engine, max_attempts=1)
    with _slots(way.url, settings) as slots:
        way.lose_the_next_commit(and_shut=True)
        slots.take_a_ticket()
        _wait_until_claimed(engine, key)
        with transaction(engine) as connection:
            connection.execute(text("UPDATE progress SET lease_until = clock_timestamp()"))
        way.open()
        slots.wait()
    job = job_of(engine, key)
    assert (job.state, job.failures, job.attempts_made, job.rows) == ("succeeded", 0, 1, 20)


@on_newest_postgres
def test_a_job_that_was_reaped_meanwhile_is_left_to_whoever_has_it(
    engine: Engine, settings: Settings, way: Way
) -> None:
    key = _book(engine)
    with _slots(way.url, settings) as slots:
        way.lose_the_next_commit(and_shut=True)
        slots.take_a_ticket()
        _wait_until_claimed(engine, key)
        with transaction(engine) as connection:
            connection.execute(text("UPDATE progress SET lease_until = clock_timestamp()"))
        with transaction(engine) as connection:
            assert reap(connection, key) is not None
            connection.execute(text("UPDATE jobs SET not_before = NULL"))
        successor = _claim(engine, Slot("other", "there", 0, "cpu"))
        way.open()
        slots.wait()
    first, second = attempts_of(engine, key)
    assert (first.outcome, second.outcome, second.worker) == ("lost", None, "other")
    job = job_of(engine, key)
    assert (job.state, job.attempt, job.rows) == ("running", successor.attempt, 0)


@on_newest_postgres
def test_a_worker_told_to_leave_gives_the_job_back_once_it_knows_that_it_has_it(
    engine: Engine, settings: Settings, way: Way
) -> None:
    key = _book(engine, max_attempts=1, epochs=1000, pause_seconds=0.05)
    with _slots(way.url, settings) as slots:
        way.lose_the_next_commit(and_shut=True)
        slots.take_a_ticket()
        _wait_until_claimed(engine, key)
        slots.shutdown.begin()
        way.open()
        slots.wait()
    job = job_of(engine, key)
    assert (job.state, job.failures) == ("queued", 0)
    assert only_attempt(engine, key).outcome == "preempted"


@on_newest_postgres
def test_a_worker_whose_grace_is_over_asks_no_more(
    engine: Engine, settings: Settings, way: Way
) -> None:
    key = _book(engine)
    with _slots(way.url, settings, grace_seconds=0.1) as slots:
        way.lose_the_next_commit(and_shut=True)
        slots.take_a_ticket()
        _wait_until_claimed(engine, key)
        slots.shutdown.begin()
        told = time.monotonic()
        slots.wait()
        assert time.monotonic() - told < 5
    # Nobody has it, and the reaper will see that.
    assert only_attempt(engine, key).outcome is None


@on_newest_postgres
@pytest.mark.usefixtures("postgres")
def test_a_claim_that_the_server_never_committed_is_made_again(
    settings: Settings, tmp_path: Path
) -> None:
    """PostgreSQL crashes when all is written and the COMMIT is about to be sent."""
    with EmbeddedPostgres(tmp_path / "pg") as server:
        engine = _engine_to(server.url)
        migrate(engine)
        key = _book(engine, max_attempts=1)
        engine.dispose()
        with _slots(server.url, settings) as slots:
            crashed = threading.Event()

            def crash(_connection: object) -> None:
                assert server.pid is not None
                os.kill(server.pid, signal.SIGQUIT)
                wait_until(lambda: not server.alive, 10, "the server is gone")
                crashed.set()

            event.listen(slots.workshop._engine, "commit", crash, once=True)
            slots.take_a_ticket()
            assert crashed.wait(SOON)
            server.start()
            slots.wait()
            assert attempts_of(engine, key) == []
            assert job_of(engine, key).state == "queued"
            slots.take_a_ticket()
            slots.wait()
        job = job_of(engine, key)
        assert (job.state, job.failures, job.attempts_made, job.rows) == ("succeeded", 0, 1, 20)
        assert only_attempt(engine, key).outcome == "succeeded"
        engine.dispose()
