"""Submit, claim, flush, wish, end: played in any order on a real database, the book holds."""

import hashlib
import itertools
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, Engine, Row, select

from models.domain.errors import FenceLost, MoveForbidden
from models.domain.lifecycle import FINISHED, MOVES, Outcome, State, StopReason, Wish
from models.tables import attempts, epochs, events, iterations, jobs, progress
from services.claims import Slot, claim
from services.database import transaction
from services.deletion import delete_job
from services.endings import Ending, end_attempt
from services.recording import Owner, Page, RowsBroken, flush
from services.steering import cancel, stop
from tests.bookings import book_job
from tests.pretenders import BATCHES, epoch_of, make_rows

LEASE_SECONDS = 600.0
SUCCESSES = (StopReason.EPOCHS, StopReason.TARGET_LOSS, StopReason.STOPPED)
FAILURES = (
    (Outcome.ERROR, StopReason.ERROR),
    (Outcome.KILLED, StopReason.ATTEMPTS),
    (Outcome.DIVERGED, StopReason.DIVERGED),
)


_NUMBERS = itertools.count()


@dataclass
class Known:
    """What the model knows of a job."""

    priority: int
    state: State = State.QUEUED
    rows: int = 0
    attempts: int = 0
    wanted: Wish | None = None
    rewinds: int = 0


class Lifecycle(RuleBasedStateMachine):
    """Plays against the services; `known` is what must be in the book."""

    owners = Bundle("owners")
    former = Bundle("former")

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine
        self.queue = f"queue{next(_NUMBERS)}"
        self.known: dict[int, Known] = {}

    def _do(self, work: Any, *arguments: object) -> Any:  # noqa: ANN401 - whatever the service says
        with transaction(self.engine) as connection:
            return work(connection, *arguments)

    @rule(priority=st.integers(-2, 2))
    def submit(self, priority: int) -> None:
        with transaction(self.engine) as connection:
            key = book_job(connection, queue=self.queue, priority=priority)
        self.known[key] = Known(priority)

    @rule(target=owners)
    def take(self) -> Any:  # noqa: ANN401 - an owner, or none
        claimed = self._do(claim, self.queue, Slot("w", "h", 0, "cpu"), LEASE_SECONDS)
        waiting = [
            (-job.priority, key) for key, job in self.known.items() if job.state is State.QUEUED
        ]
        if not waiting:
            assert claimed is None
            return multiple()
        job = self.known[claimed.job_key]
        assert claimed.job_key == min(waiting)[1]
        job.state, job.attempts = State.RUNNING, job.attempts + 1
        assert (claimed.attempt, claimed.iteration) == (job.attempts, job.rows)
        return Owner(claimed.job_key, claimed.attempt, LEASE_SECONDS)

    @rule(owner=owners, count=st.integers(0, 2 * BATCHES))
    def write(self, owner: Owner, count: int) -> None:
        job = self.known[owner.job_key]
        answer = self._do(flush, owner, self._page(job, count))
        job.rows += count
        assert answer.wanted is job.wanted

    @rule(owner=owners, step=st.sampled_from([-1, 1, 2]))
    def write_rows_that_do_not_go_on(self, owner: Owner, step: int) -> None:
        job = self.known[owner.job_key]
        with pytest.raises(RowsBroken):
            self._do(flush, owner, Page(rows=make_rows(job.rows + 1 + step, 1, loss=0.0)))

    @rule(owner=former, count=st.integers(0, 3))
    def write_after_the_end(self, owner: Owner, count: int) -> None:
        rows = make_rows(1, count) if count else None
        with pytest.raises(FenceLost):
            self._do(flush, owner, Page(rows=rows))
        with pytest.raises(FenceLost):
            self._do(end_attempt, owner, Page(), Ending(Outcome.SUCCEEDED, StopReason.EPOCHS))

    @rule(owner=owners, wish=st.sampled_from([cancel, stop]))
    def want_of_a_running_job(self, owner: Owner, wish: Any) -> None:  # noqa: ANN401 - a service
        job = self.known[owner.job_key]
        self._do(wish, self._id(owner.job_key))
        if wish is cancel:
            job.wanted = Wish.CANCEL
        elif job.wanted is None:
            job.wanted = Wish.STOP

    @rule(data=st.data(), wish=st.sampled_from([cancel, stop]))
    def want_of_another_job(self, data: st.DataObject, wish: Any) -> None:  # noqa: ANN401 - a service
        others = sorted(key for key, job in self.known.items() if job.state is not State.RUNNING)
        if not others:
            return
        key = data.draw(st.sampled_from(others))
        job = self.known[key]
        if wish is cancel and job.state is State.QUEUED:
            self._do(cancel, self._id(key))
            job.state, job.wanted = State.CANCELLED, None
            return
        with pytest.raises(MoveForbidden):
            self._do(wish, self._id(key))

    @rule(
        target=former,
        owner=consumes(owners),
        count=st.integers(0, 5),
        reason=st.sampled_from(SUCCESSES),
    )
    def succeed(self, owner: Owner, count: int, reason: StopReason) -> Owner:
        job = self.known[owner.job_key]
        ending = Ending(Outcome.SUCCEEDED, reason, exit_code=0)
        self._do(end_attempt, owner, self._page(job, count), ending)
        job.rows += count
        job.state, job.wanted = State.SUCCEEDED, None
        return owner

    @rule(target=former, owner=consumes(owners), failure=st.sampled_from(FAILURES))
    def fail(self, owner: Owner, failure: tuple[Outcome, StopReason]) -> Owner:
        job = self.known[owner.job_key]
        self._do(end_attempt, owner, Page(), Ending(*failure))
        job.state = State.CANCELLED if job.wanted is Wish.CANCEL else State.FAILED
        job.wanted = None
        return owner

    @rule(target=former, owner=consumes(owners))
    def be_cancelled(self, owner: Owner) -> Owner:
        job = self.known[owner.job_key]
        self._do(end_attempt, owner, Page(), Ending(Outcome.CANCELLED, StopReason.CANCELLED))
        job.state, job.wanted = State.CANCELLED, None
        return owner

    @rule(target=former, owner=consumes(owners), count=st.integers(0, 5))
    def be_preempted(self, owner: Owner, count: int) -> Owner:
        job = self.known[owner.job_key]
        self._do(end_attempt, owner, self._page(job, count), Ending(Outcome.PREEMPTED, None))
        if job.wanted is Wish.CANCEL:
            job.rows += count
            job.state, job.wanted = State.CANCELLED, None
        else:
            job.state, job.rows, job.rewinds = State.QUEUED, 0, job.rewinds + 1
        return owner

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if not self.known:
            return
        key = data.draw(st.sampled_from(sorted(self.known)))
        if self.known[key].state in FINISHED:
            self._do(delete_job, self._id(key))
            del self.known[key]
        else:
            with pytest.raises(MoveForbidden):
                self._do(delete_job, self._id(key))

    @invariant()
    def the_book_holds(self) -> None:
        with transaction(self.engine) as connection:
            found = connection.execute(
                select(jobs, progress)
                .join(progress, progress.c.job_key == jobs.c.key)
                .where(jobs.c.queue == self.queue)
            ).all()
            assert {row.key for row in found} == set(self.known)
            for row in found:
                self._check_job(connection, row, self.known[row.key])

    def _check_job(self, connection: Connection, row: Row[Any], job: Known) -> None:
        running = job.state is State.RUNNING
        assert (row.state, row.wanted) == (job.state, job.wanted)
        assert (row.iteration, row.rows, row.rewinds) == (job.rows, job.rows, job.rewinds)
        assert (row.attempts_made, row.failures) == (job.attempts, 0)
        assert row.attempt == (job.attempts if running else None)
        assert (row.lease_until is not None) == running
        assert (
            (row.finished_at is not None)
            == (row.stop_reason is not None)
            == (job.state in FINISHED)
        )
        losses = make_rows(1, job.rows)["loss"].tobytes()
        digest = hashlib.sha256(losses).hexdigest() if job.state in FINISHED else None
        assert row.loss_sha256 == digest
        _check_rows(connection, row.key, job)
        _check_attempts(connection, row.key, job)
        _check_events(connection, row, job)

    def _page(self, job: Known, count: int) -> Page:
        if not count:
            return Page()
        rows = make_rows(job.rows + 1, count)
        done = range(job.rows // BATCHES + 1, (job.rows + count) // BATCHES + 1)
        return Page(
            rows=rows,
            epochs=[epoch_of(number) for number in done],
            epoch=int(rows["epoch"][-1]),
            batch=int(rows["batch"][-1]),
        )

    def _id(self, key: int) -> Any:  # noqa: ANN401 - a UUID
        return self._do(
            lambda connection: connection.scalar(select(jobs.c.id).where(jobs.c.key == key))
        )


def _check_rows(connection: Connection, key: int, job: Known) -> None:
    """Rows are 1 to k, each once, with the losses that were delivered; epochs as they closed."""
    booked = connection.execute(
        select(iterations.c.iteration, iterations.c.loss)
        .where(iterations.c.job_key == key)
        .order_by(iterations.c.iteration)
    ).all()
    expected = make_rows(1, job.rows)
    assert [tuple(row) for row in booked] == expected[["iteration", "loss"]].tolist()
    closed = connection.execute(
        select(epochs.c.epoch).where(epochs.c.job_key == key).order_by(epochs.c.epoch)
    ).scalars()
    assert list(closed) == list(range(1, job.rows // BATCHES + 1))


def _check_attempts(connection: Connection, key: int, job: Known) -> None:
    tries = connection.execute(
        select(attempts).where(attempts.c.job_key == key).order_by(attempts.c.number)
    ).all()
    assert [row.number for row in tries] == list(range(1, job.attempts + 1))
    still_open = [row.number for row in tries if row.ended_at is None]
    assert still_open == ([job.attempts] if job.state is State.RUNNING else [])
    assert all((row.outcome is None) == (row.ended_at is None) for row in tries)


def _check_events(connection: Connection, row: Row[Any], job: Known) -> None:
    """Numbered without gaps; the states they tell are a walk along MOVES to where the job is."""
    told = connection.execute(
        select(events).where(events.c.job_key == row.key).order_by(events.c.id)
    ).all()
    assert [event.id for event in told] == list(range(1, row.last_event + 1))
    moves = [(event.data["from"], event.data["to"]) for event in told if event.type == "state"]
    assert moves[0] == (None, "queued")
    for (_, before), (from_, to) in itertools.pairwise(moves):
        assert before == from_
        assert State(to) in MOVES[State(from_)]
    assert moves[-1][1] == job.state
    assert [event.type for event in told].count("rewound") == job.rewinds


def test_whatever_happens_to_jobs_the_book_holds(engine: Engine) -> None:
    run_state_machine_as_test(
        lambda: Lifecycle(engine),  # type: ignore[arg-type]  # it only calls it
        settings=settings(
            max_examples=30,
            stateful_step_count=25,
            deadline=None,
            # Making a failure smaller takes a database thousands of steps; 25 can be read.
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )
