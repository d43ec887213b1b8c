"""Claims and moves, with real connections racing for the same rows."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import pytest
from sqlalchemy import Connection, Engine, func, select, update

from models.domain.errors import FenceLost
from models.domain.lifecycle import Outcome, State, StopReason, Wish
from models.tables import jobs, progress
from services.claims import Claim, Slot, claim, fitting, more_wait
from services.database import transaction
from services.endings import Ending, end_attempt
from services.lifecycle import MoveUnknown, move
from services.pages import Page
from services.recording import Owner
from tests.bookings import attempts_of, book_job, events_of, job_of

T = TypeVar("T")

LEASE_SECONDS = 6.0


def slot(device: str = "cpu", worker: str = "w") -> Slot:
    return Slot(worker=worker, host="h", number=0, device=device)


def claim_one(engine: Engine, device: str = "cpu", queue: str = "default") -> Claim | None:
    with transaction(engine) as connection:
        return claim(connection, queue, slot(device), LEASE_SECONDS)


def book(engine: Engine, **spec: object) -> int:
    with transaction(engine) as connection:
        return book_job(connection, **spec)  # type: ignore[arg-type]


def race(engine: Engine, *runners: Callable[[Connection], T]) -> list[T]:
    """Run each in a transaction of its own thread, all let go at the same moment."""
    barrier = threading.Barrier(len(runners))
    answers: dict[int, T] = {}

    def run(number: int) -> None:
        with transaction(engine) as connection:
            connection.execute(select(1))
            barrier.wait(10)
            answers[number] = runners[number](connection)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(runners))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return [answers[number] for number in range(len(runners))]


def test_a_queued_job_is_claimed_once_by_two_workers(engine: Engine) -> None:
    for _ in range(10):
        key = book(engine)

        def take(connection: Connection) -> Claim | None:
            return claim(connection, "default", slot(), LEASE_SECONDS)

        won = [each for each in race(engine, take, take) if each is not None]
        assert [each.job_key for each in won] == [key]
        assert [each.number for each in attempts_of(engine, key)] == [1]


def test_a_claim_makes_the_job_running_with_attempt_lease_and_event(engine: Engine) -> None:
    key = book(engine)
    claimed = claim_one(engine)
    assert claimed is not None
    assert (claimed.job_key, claimed.attempt, claimed.iteration) == (key, 1, 0)
    job = job_of(engine, key)
    assert (job.state, job.attempt, job.attempts_made, job.phase) == ("running", 1, 1, "start")
    assert job.started_at is not None
    (attempt,) = attempts_of(engine, key)
    assert (attempt.worker, attempt.device, attempt.first_iteration) == ("w", "cpu", 1)
    assert attempt.backend_pid
    assert attempt.backend_start < attempt.started_at
    lease = job.lease_until - job.started_at
    assert lease == pytest.approx(timedelta(seconds=LEASE_SECONDS), abs=timedelta(seconds=5))
    assert [(each.id, each.data["to"]) for each in events_of(engine, key)] == [
        (1, "queued"),
        (2, "running"),
    ]


def test_the_highest_priority_goes_first_and_within_it_the_oldest(engine: Engine) -> None:
    late = [book(engine, priority=priority) for priority in (0, 5, 0, 5, -3)]
    order = [claimed.job_key for _ in late if (claimed := claim_one(engine)) is not None]
    assert order == [late[1], late[3], late[0], late[2], late[4]]
    assert claim_one(engine) is None


@pytest.mark.parametrize(
    ("device", "fits"),
    [
        ("cpu", {"auto", "cpu"}),
        ("cuda:0", {"auto", "cpu", "cuda", "cuda:0"}),
        ("cuda:1", {"auto", "cpu", "cuda", "cuda:1"}),
    ],
)
def test_a_slot_takes_only_what_fits_its_device(
    engine: Engine, device: str, fits: set[str]
) -> None:
    wanted = {
        book(engine, device=name): name for name in ("cuda:1", "cuda:0", "cuda", "cpu", "auto")
    }
    taken: dict[str, str] = {}
    while (claimed := claim_one(engine, device)) is not None:
        taken[wanted[claimed.job_key]] = claimed.device
    assert set(taken) == fits == set(fitting(device))
    assert taken["cpu"] == "cpu"
    assert taken["auto"] == device


def test_a_job_of_another_queue_or_of_later_is_left_alone(engine: Engine) -> None:
    book(engine, queue="other")
    later = book(engine)
    with transaction(engine) as connection:
        hour = func.clock_timestamp() + timedelta(hours=1)
        connection.execute(update(jobs).where(jobs.c.key == later).values(not_before=hour))
    assert claim_one(engine) is None
    assert claim_one(engine, queue="other") is not None


def test_a_job_that_another_is_claiming_is_passed_over_not_waited_for(engine: Engine) -> None:
    first, second = book(engine), book(engine)
    with transaction(engine) as connection:
        held = claim(connection, "default", slot(), LEASE_SECONDS)
        other = claim_one(engine)
    assert held is not None
    assert other is not None
    assert (held.job_key, other.job_key) == (first, second)


def test_a_claim_that_is_rolled_back_leaves_the_job_queued(engine: Engine) -> None:
    key = book(engine)
    with engine.connect() as connection:
        assert claim(connection, "default", slot(), LEASE_SECONDS) is not None
        connection.rollback()
    assert job_of(engine, key).state == "queued"
    assert attempts_of(engine, key) == []


def test_more_work_is_seen_only_where_it_fits(engine: Engine) -> None:
    book(engine, device="cuda")
    with transaction(engine) as connection:
        assert not more_wait(connection, "default", frozenset({"cpu"}))
        assert more_wait(connection, "default", frozenset({"cpu", "cuda:0"}))


def test_of_a_claim_and_a_cancel_one_wins(engine: Engine) -> None:
    for _ in range(10):
        key = book(engine)

        def take(connection: Connection) -> bool:
            return claim(connection, "default", slot(), LEASE_SECONDS) is not None

        def cancel(connection: Connection, key: int = key) -> bool:
            return move(
                connection,
                key,
                from_=State.QUEUED,
                to=State.CANCELLED,
                stop_reason=StopReason.CANCELLED,
            )

        claimed, cancelled = race(engine, take, cancel)
        assert claimed != cancelled
        job = job_of(engine, key)
        assert job.state == ("running" if claimed else "cancelled")
        assert (job.attempt is None) == cancelled


def test_of_two_moves_from_one_state_one_wins(engine: Engine) -> None:
    for _ in range(10):
        key = book(engine)

        def pause(connection: Connection, key: int = key) -> bool:
            return move(connection, key, from_=State.QUEUED, to=State.PAUSED)

        def cancel(connection: Connection, key: int = key) -> bool:
            return move(
                connection,
                key,
                from_=State.QUEUED,
                to=State.CANCELLED,
                stop_reason=StopReason.CANCELLED,
            )

        assert sorted(race(engine, pause, cancel)) == [False, True]
        assert len(events_of(engine, key)) == 2


def test_of_two_endings_of_one_attempt_one_writes_and_the_other_is_fenced_off(
    engine: Engine,
) -> None:
    for _ in range(10):
        key = book(engine)
        claim_one(engine)
        owner = Owner(key, 1, LEASE_SECONDS)

        def finish(connection: Connection, owner: Owner = owner) -> str:
            ending = Ending(Outcome.SUCCEEDED, StopReason.EPOCHS)
            return _ended(connection, owner, ending)

        def fail(connection: Connection, owner: Owner = owner) -> str:
            return _ended(connection, owner, Ending(Outcome.ERROR, StopReason.ERROR))

        answers = race(engine, finish, fail)
        assert sorted(answers) == ["ended", "fenced off"]
        job = job_of(engine, key)
        assert job.state == ("succeeded" if answers[0] == "ended" else "failed")
        assert (job.attempt, job.lease_until, job.phase) == (None, None, "done")


def _ended(connection: Connection, owner: Owner, ending: Ending) -> str:
    try:
        end_attempt(connection, owner, Page(), ending)
    except FenceLost:
        return "fenced off"
    return "ended"


def test_a_cancel_that_races_a_finish_is_obeyed_or_comes_too_late(engine: Engine) -> None:
    """Either the wish stands before the end, or it finds nobody who owns the job."""
    for outcome, reason, early in [
        (Outcome.SUCCEEDED, StopReason.EPOCHS, "succeeded"),
        (Outcome.ERROR, StopReason.ERROR, "cancelled"),
    ] * 5:
        key = book(engine)
        claim_one(engine)

        def wish(connection: Connection, key: int = key) -> bool:
            told = connection.execute(
                update(progress)
                .where(progress.c.job_key == key, progress.c.attempt.is_not(None))
                .values(wanted=Wish.CANCEL, wanted_at=func.clock_timestamp())
            )
            return told.rowcount == 1

        def finish(
            connection: Connection,
            owner: Owner = Owner(key, 1, LEASE_SECONDS),  # noqa: B008 - this round's
            ending: Ending = Ending(outcome, reason),  # noqa: B008 - this round's
        ) -> bool:
            end_attempt(connection, owner, Page(), ending)
            return True

        wished, _ = race(engine, wish, finish)
        job = job_of(engine, key)
        late = "succeeded" if outcome is Outcome.SUCCEEDED else "failed"
        assert job.state == (early if wished else late)
        assert job.wanted is None


def test_a_move_that_the_table_does_not_list_is_a_mistake_of_ours(engine: Engine) -> None:
    key = book(engine)
    with transaction(engine) as connection, pytest.raises(MoveUnknown):
        move(connection, key, from_=State.QUEUED, to=State.SUCCEEDED)
