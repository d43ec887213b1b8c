"""Silent attempts are ended: those of dead workers, of stopped ones, and not those of an outage."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import Engine, func, select, text, update
from sqlalchemy.exc import OperationalError

from models.domain.errors import FenceLost
from models.domain.lifecycle import Outcome, StopReason, Wish
from models.tables import jobs, progress
from services.claims import Slot, claim
from services.closing import Hashed
from services.database import transaction
from services.endings import Ending, end_attempt
from services.fleet import Worker, heartbeat
from services.pages import Page
from services.reaping import (
    WORKER_SESSION,
    Silent,
    find_silent,
    free,
    hash_where_it_ends,
    is_held,
    reap,
)
from services.recording import Owner
from tests.bookings import attempts_of, book_job, events_of, job_of
from tests.integration.owned import write
from tests.pretenders import make_rows
from tests.waiting import wait_until
from worker.reaper import Reaper, Touch

LEASE_SECONDS = 0.5
SOON = 20.0


def fall_silent(engine: Engine, owner: Owner) -> None:
    """Let the lease be over, as time does."""
    with transaction(engine) as connection:
        connection.execute(
            update(progress)
            .where(progress.c.job_key == owner.job_key)
            .values(lease_until=func.clock_timestamp() - timedelta(seconds=3))
        )


def silent_jobs(engine: Engine, lease_seconds: float = LEASE_SECONDS) -> list[Silent]:
    with transaction(engine) as connection:
        return find_silent(connection, lease_seconds)


def reap_it(engine: Engine, owner: Owner) -> Ending | None:
    with transaction(engine) as connection:
        return reap(connection, owner.job_key)


def test_a_lease_that_is_over_is_found_and_its_job_goes_back(engine: Engine, owner: Owner) -> None:
    write(engine, owner, Page(rows=make_rows(1, 5)))
    assert silent_jobs(engine) == []
    assert reap_it(engine, owner) is None
    fall_silent(engine, owner)
    with transaction(engine) as connection:
        heartbeat(connection, Worker("w", "h", 1, ["cpu"], ["default"]))
    (silent,) = silent_jobs(engine)
    assert (silent.job_key, silent.attempt) == (owner.job_key, owner.attempt)
    ending = reap_it(engine, owner)
    assert ending is not None
    assert ending.outcome is Outcome.LOST
    job = job_of(engine, owner.job_key)
    assert (job.state, job.failures, job.rows, job.attempt) == ("queued", 1, 5, None)
    (attempt,) = attempts_of(engine, owner.job_key)
    assert (attempt.outcome, attempt.last_iteration) == ("lost", 5)
    assert "without a flush" in attempt.error["message"]
    assert "was last seen 0." in attempt.error["message"]
    assert events_of(engine, owner.job_key)[-1].data["outcome"] == "lost"
    # Whoever comes late finds nothing to do, and the attempt itself can't write.
    assert reap_it(engine, owner) is None
    with pytest.raises(FenceLost):
        write(engine, owner, Page(rows=make_rows(6, 1)))
    with pytest.raises(FenceLost), transaction(engine) as connection:
        end_attempt(connection, owner, Page(), Ending(Outcome.SUCCEEDED, StopReason.EPOCHS))


def test_an_attempt_that_was_not_reaped_may_renew_its_lease(engine: Engine, owner: Owner) -> None:
    fall_silent(engine, owner)
    write(engine, owner, Page(rows=make_rows(1, 1)))
    assert silent_jobs(engine) == []
    assert reap_it(engine, owner) is None
    assert job_of(engine, owner.job_key).state == "running"


def test_a_cancel_of_a_silent_job_is_done_at_once(engine: Engine, owner: Owner) -> None:
    fall_silent(engine, owner)
    with transaction(engine) as connection:
        assert reap(connection, owner.job_key, wanted=Wish.CANCEL) is not None
    job = job_of(engine, owner.job_key)
    assert (job.state, job.stop_reason, job.error) == ("cancelled", "cancelled", None)
    assert attempts_of(engine, owner.job_key)[0].outcome == "lost"


def test_nothing_is_found_within_a_lease_of_the_servers_start(engine: Engine, owner: Owner) -> None:
    fall_silent(engine, owner)
    with transaction(engine) as connection:
        up = connection.scalar(
            select(func.extract("epoch", func.clock_timestamp() - func.pg_postmaster_start_time()))
        )
    assert up is not None
    assert silent_jobs(engine, lease_seconds=float(up) + 60) == []
    assert len(silent_jobs(engine)) == 1


def test_of_two_reapers_and_a_late_flush_one_wins(engine: Engine, owner: Owner) -> None:
    """Real connections, many times: the book is the flush's or the reaper's, never both's."""
    won = {"reaper": 0, "flush": 0}
    for _ in range(20):
        attempt = attempts_of(engine, owner.job_key)[-1].number
        now = Owner(owner.job_key, attempt, owner.lease_seconds)
        rows = job_of(engine, owner.job_key).rows
        fall_silent(engine, now)
        ends: list[object] = []
        start = threading.Barrier(3)

        def write_late(now: Owner = now, rows: int = rows, ends: list[object] = ends) -> None:
            start.wait()  # noqa: B023 - joined below
            try:
                write(engine, now, Page(rows=make_rows(rows + 1, 1)))
                ends.append("flush")
            except FenceLost:
                pass

        def reap_now(ends: list[object] = ends) -> None:
            start.wait()  # noqa: B023 - joined below
            if reap_it(engine, owner) is not None:
                ends.append("reaper")

        threads = [threading.Thread(target=work) for work in (write_late, reap_now, reap_now)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ends) == 1
        won[str(ends[0])] += 1
        job = job_of(engine, owner.job_key)
        assert job.state == ("queued" if ends == ["reaper"] else "running")
        assert job.rows == rows + (ends == ["flush"])
        if ends == ["reaper"]:
            own_again(engine)
    assert sum(won.values()) == 20


def own_again(engine: Engine) -> None:
    with transaction(engine) as connection:
        connection.execute(update(jobs).values(not_before=None, failures=0))
        assert claim(connection, "default", Slot("w", "h", 0, "cpu"), 6.0) is not None


@contextlib.contextmanager
def stopped_in_copy(database_url: str, owner: Owner) -> Iterator[None]:
    """A session has crossed the fence and begun a COPY, and says nothing more.

    It is a new one, as after an outage: the attempt's row does not name it yet.
    """
    session = psycopg.connect(database_url, application_name=WORKER_SESSION)
    try:
        session.execute(
            "UPDATE progress SET running_seconds = 1 WHERE job_key = %s", [owner.job_key]
        )
        # Below psycopg's own COPY, which would end it when the block is left.
        session.pgconn.exec_(b"COPY logs FROM STDIN")
        yield
    finally:
        session.close()


def test_a_worker_that_was_stopped_in_a_copy_is_freed_from_its_session(
    engine: Engine, owner: Owner, database_url: str
) -> None:
    fall_silent(engine, owner)
    reaper = Reaper(engine, LEASE_SECONDS, every_seconds=5)
    with stopped_in_copy(database_url, owner):
        (silent,) = silent_jobs(engine)
        with pytest.raises(OperationalError) as held:
            reap_it(engine, owner)
        assert is_held(held.value)
        # It may be a flush that is just being written: nothing is ended before a lease is over.
        with transaction(engine) as connection:
            assert not free(connection, silent, lease_seconds=60)

        def reaped() -> bool:
            reaper.look()
            return bool(job_of(engine, owner.job_key).state == "queued")

        wait_until(reaped, SOON, "the job is back in the queue")
    assert attempts_of(engine, owner.job_key)[0].outcome == "lost"
    assert job_of(engine, owner.job_key).running_seconds == 0


@pytest.mark.parametrize("who", ["one that computes", "a person"])
def test_another_session_that_holds_the_job_is_let_be(
    engine: Engine, owner: Owner, database_url: str, who: str
) -> None:
    """As one that takes a long run's rows back, for longer than a lease; or somebody's psql."""
    fall_silent(engine, owner)
    name = WORKER_SESSION if who == "one that computes" else "psql"
    with psycopg.connect(database_url, application_name=name) as session:
        session.execute("UPDATE progress SET running_seconds = 1")
        busy = threading.Thread(target=session.execute, args=("SELECT pg_sleep(1)",))
        if who == "one that computes":
            busy.start()
        (silent,) = silent_jobs(engine)
        with transaction(engine) as connection:
            assert not free(connection, silent, lease_seconds=0.0)
        if busy.ident is not None:
            busy.join()


def test_a_job_that_cant_be_reaped_keeps_no_other_waiting(engine: Engine, owner: Owner) -> None:
    with transaction(engine) as connection:
        book_job(connection)
        other = claim(connection, "default", Slot("w", "h", 1, "cpu"), 6.0)
    assert other is not None
    fall_silent(engine, owner)
    fall_silent(engine, Owner(other.job_key, 1, 6.0))
    with transaction(engine) as connection:
        # The first in line breaks a rule of the database when it is moved.
        connection.execute(
            text(
                "UPDATE progress SET lease_until = lease_until - interval '1 min'"
                " WHERE job_key = :key"
            ),
            {"key": owner.job_key},
        )
        connection.execute(
            text(
                "ALTER TABLE jobs ADD CONSTRAINT ck_broken"
                f" CHECK (key <> {owner.job_key} OR state = 'running')"
            )
        )
    now = [0.0]
    reaper = Reaper(engine, LEASE_SECONDS, every_seconds=1, clock=lambda: now[0])
    for at in (0.0, 1.0):
        now[0] = at
        reaper.look()
    assert job_of(engine, owner.job_key).state == "running"
    assert job_of(engine, other.job_key).state == "queued"


def test_the_losses_of_a_job_that_ends_are_hashed_before_it_is_locked(
    engine: Engine, owner: Owner
) -> None:
    write(engine, owner, Page(rows=make_rows(1, 5)))
    with transaction(engine) as connection:
        connection.execute(update(jobs).values(max_attempts=1))
    fall_silent(engine, owner)
    with transaction(engine) as connection:
        hashed = hash_where_it_ends(connection, owner.job_key)
    assert hashed is not None
    assert hashed == Hashed(5, 0, hashlib.sha256(make_rows(1, 5)["loss"].tobytes()).hexdigest())
    # A flush came in between, and renewed nothing that matters here: its row counts all the same.
    write(engine, owner, Page(rows=make_rows(6, 1)))
    fall_silent(engine, owner)
    with transaction(engine) as connection:
        ending = reap(connection, owner.job_key, attempt=1, hashed=hashed)
    assert ending is not None
    losses = make_rows(1, 6)["loss"].tobytes()
    assert job_of(engine, owner.job_key).loss_sha256 == hashlib.sha256(losses).hexdigest()


def test_an_attempt_that_was_found_silent_is_not_taken_for_the_one_after_it(
    engine: Engine, owner: Owner
) -> None:
    fall_silent(engine, owner)
    with transaction(engine) as connection:
        assert reap(connection, owner.job_key, attempt=owner.attempt + 1) is None
        assert reap(connection, owner.job_key, attempt=owner.attempt) is not None


def test_who_has_lost_sight_of_the_database_reaps_only_after_a_lease(
    engine: Engine, owner: Owner
) -> None:
    fall_silent(engine, owner)
    now = [0.0]
    reaper = Reaper(engine, 6.0, every_seconds=2.0, clock=lambda: now[0])

    def look_at(seconds: float) -> str:
        now[0] = seconds
        reaper.look()
        state: str = job_of(engine, owner.job_key).state
        return state

    wait_until(lambda: silent_jobs(engine, 6.0), SOON, "the server is up for six seconds")
    assert [look_at(at) for at in (0, 2, 4)] == ["running"] * 3
    # It was stopped, or the database hung: what it sees now says nothing of the time between.
    assert [look_at(at) for at in (64, 66, 68)] == ["running"] * 3
    assert look_at(70) == "queued"


def test_an_outage_is_a_break() -> None:
    now = [0.0]
    touch = Touch(5.0, lambda: now[0])
    assert touch.seconds == 0
    for at in (0.0, 2.0, 4.0):
        now[0] = at
        touch.reached()
    assert touch.seconds == 4
    touch.lost()
    assert touch.seconds == 0
    now[0] = 5.0
    touch.reached()
    assert touch.seconds == 0
    now[0] = 7.0
    touch.reached()
    assert touch.seconds == 2
