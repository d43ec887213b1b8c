"""Submit, claim, flush, wish, end, crash, reap, go on: in any order, on a real database."""

import hashlib
import itertools
from datetime import timedelta
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
from sqlalchemy import Connection, Engine, Row, func, select, update

from models.domain.checkpoints import Resumed
from models.domain.errors import FenceLost, MoveForbidden
from models.domain.lifecycle import (
    FINISHED,
    LEFT_OFF,
    Outcome,
    State,
    StopReason,
    Wish,
)
from models.tables import jobs, progress
from services.claims import Slot, claim
from services.database import transaction
from services.deletion import delete_job
from services.endings import Ending, end_attempt
from services.pages import Page
from services.reaping import find_silent, reap
from services.recording import Owner, RowsBroken, flush
from services.steering import cancel, pause, resume, retry, stop
from tests.bookings import book_job
from tests.pretenders import BATCHES, epoch_of, make_rows
from tests.property.known_jobs import Known, check_attempts, check_events, check_rows

LEASE_SECONDS = 600.0
KEEP = 2
SUCCESSES = (StopReason.EPOCHS, StopReason.TARGET_LOSS, StopReason.STOPPED)
FAILURES = ((Outcome.ERROR, StopReason.ERROR), (Outcome.DIVERGED, StopReason.DIVERGED))
COUNTED = (Outcome.ERROR, Outcome.KILLED, Outcome.OUT_OF_MEMORY, Outcome.STALLED, Outcome.LOST)
WISHES: dict[Wish, Any] = {Wish.CANCEL: cancel, Wish.STOP: stop, Wish.PAUSE: pause}


_NUMBERS = itertools.count()


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

    def _some(self, data: st.DataObject, *states: State, silent: bool = False) -> int | None:
        """One of the jobs in these states; None where there is none."""
        keys = sorted(
            key for key, job in self.known.items() if job.state in states and job.silent == silent
        )
        return data.draw(st.sampled_from(keys)) if keys else None

    @rule(priority=st.integers(-2, 2))
    def submit(self, priority: int) -> None:
        with transaction(self.engine) as connection:
            key = book_job(connection, queue=self.queue, priority=priority)
        self.known[key] = Known(priority)

    @rule(target=owners)
    def take(self) -> Any:  # noqa: ANN401 - an owner, or none
        # What was to wait before another try has waited.
        self._do(lambda connection: connection.execute(update(jobs).values(not_before=None)))
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
        assert [kept.iteration for kept in claimed.checkpoints] == job.kept[::-1]
        return Owner(claimed.job_key, claimed.attempt, LEASE_SECONDS)

    @rule(owner=owners, count=st.integers(0, 2 * BATCHES), saves=st.booleans())
    def write(self, owner: Owner, count: int, *, saves: bool) -> None:
        job = self.known[owner.job_key]
        page = self._page(job, count)
        reached = job.rows + count
        if saves and reached not in {0, *job.kept}:
            uri = f"checkpoint-{owner.attempt}-{reached}"
            page.checkpoints = [{"iteration": reached, "uri": uri, "bytes": 1, "sha256": "s"}]
            page.keep_checkpoints = KEEP
            job.kept = [*job.kept, reached][-KEEP:]
        answer = self._do(flush, owner, page)
        job.rows = reached
        assert answer.wanted is job.wanted

    @rule(owner=owners, data=st.data(), count=st.integers(0, BATCHES))
    def go_on_from_a_checkpoint(self, owner: Owner, data: st.DataObject, count: int) -> None:
        """And deliver, in the same flush, the first rows after it."""
        job = self.known[owner.job_key]
        at = data.draw(st.sampled_from([0, *job.kept]))
        job.rewinds += at != job.rows
        job.rows, job.kept = at, [kept for kept in job.kept if kept <= at]
        page = self._page(job, count)
        page.resumed = Resumed(at, at // BATCHES, like=True)
        self._do(flush, owner, page)
        job.rows += count

    @rule(owner=owners, step=st.sampled_from([-1, 1, 2]))
    def write_rows_that_do_not_go_on(self, owner: Owner, step: int) -> None:
        job = self.known[owner.job_key]
        with pytest.raises(RowsBroken):
            self._do(flush, owner, Page(rows=make_rows(job.rows + 1 + step, 1, loss=0.0)))

    @rule(owner=former, count=st.integers(0, 3))
    def write_after_the_end(self, owner: Owner, count: int) -> None:
        job = self.known.get(owner.job_key)
        if job is not None and job.state is State.RUNNING and job.attempts == owner.attempt:
            # It was only silent, or has come back: it still owns the job.
            return
        rows = make_rows(1, count) if count else None
        with pytest.raises(FenceLost):
            self._do(flush, owner, Page(rows=rows))
        with pytest.raises(FenceLost):
            self._do(flush, owner, Page(resumed=Resumed(0, 0, like=True)))
        with pytest.raises(FenceLost):
            self._do(end_attempt, owner, Page(), Ending(Outcome.SUCCEEDED, StopReason.EPOCHS))

    @rule(owner=owners, wish=st.sampled_from(sorted(WISHES)))
    def want_of_a_running_job(self, owner: Owner, wish: Wish) -> None:
        self._do(WISHES[wish], self._id(owner.job_key))
        self.known[owner.job_key].want(wish)

    @rule(data=st.data(), wish=st.sampled_from(sorted(WISHES)))
    def want_of_a_silent_job(self, data: st.DataObject, wish: Wish) -> None:
        key = self._some(data, State.RUNNING, silent=True)
        if key is None:
            return
        self._do(WISHES[wish], self._id(key))
        if wish is Wish.CANCEL:
            self.known[key].end(State.CANCELLED)
        else:
            self.known[key].want(wish)

    @rule(data=st.data(), wish=st.sampled_from(sorted(WISHES)))
    def want_of_another_job(self, data: st.DataObject, wish: Wish) -> None:
        key = self._some(data, *(set(State) - {State.RUNNING}))
        if key is None:
            return
        job = self.known[key]
        waiting = job.state in {State.QUEUED, State.PAUSED}
        if (wish is Wish.CANCEL and waiting) or (wish is Wish.PAUSE and job.state is State.QUEUED):
            self._do(WISHES[wish], self._id(key))
            if wish is Wish.CANCEL:
                job.end(State.CANCELLED)
            else:
                job.state = State.PAUSED
            return
        with pytest.raises(MoveForbidden):
            self._do(WISHES[wish], self._id(key))

    @rule(data=st.data(), again=st.sampled_from([resume, retry]))
    def take_up_again(self, data: st.DataObject, again: Any) -> None:  # noqa: ANN401 - a service
        key = self._some(data, *State)
        if key is None:
            return
        job = self.known[key]
        failed = job.state in {State.FAILED, State.CANCELLED} and not job.diverged
        if job.state is State.PAUSED if again is resume else failed:
            assert self._do(again, self._id(key)) == self.queue
            job.state, job.failures = State.QUEUED, job.failures * (again is resume)
            return
        with pytest.raises(MoveForbidden):
            self._do(again, self._id(key))

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
        job.end(State.SUCCEEDED)
        return owner

    @rule(target=former, owner=consumes(owners), failure=st.sampled_from(FAILURES))
    def fail_for_good(self, owner: Owner, failure: tuple[Outcome, StopReason]) -> Owner:
        job = self.known[owner.job_key]
        self._do(end_attempt, owner, Page(), Ending(*failure))
        cancelled = job.wanted is Wish.CANCEL
        job.diverged = failure[0] is Outcome.DIVERGED and not cancelled
        job.end(State.CANCELLED if cancelled else State.FAILED)
        return owner

    @rule(
        target=former,
        owner=consumes(owners),
        outcome=st.sampled_from((*COUNTED, *sorted(LEFT_OFF))),
        count=st.integers(0, 5),
    )
    def end_before_the_job_does(self, owner: Owner, outcome: Outcome, count: int) -> Owner:
        job = self.known[owner.job_key]
        self._do(end_attempt, owner, self._page(job, count), Ending(outcome, None))
        job.rows += count
        job.go_back(counted=outcome in COUNTED)
        return owner

    @rule(target=former, owner=consumes(owners))
    def be_cancelled(self, owner: Owner) -> Owner:
        job = self.known[owner.job_key]
        self._do(end_attempt, owner, Page(), Ending(Outcome.CANCELLED, StopReason.CANCELLED))
        job.end(State.CANCELLED)
        return owner

    @rule(target=former, owner=consumes(owners))
    def crash(self, owner: Owner) -> Owner:
        """The worker is gone; a lease later its lease is over."""
        over = func.clock_timestamp() - timedelta(seconds=1)
        mine = update(progress).where(progress.c.job_key == owner.job_key).values(lease_until=over)
        self._do(lambda connection: connection.execute(mine))
        self.known[owner.job_key].silent = True
        return owner

    @rule(owner=former, count=st.integers(0, 5), target=owners)
    def come_back_in_time(self, owner: Owner, count: int) -> Any:  # noqa: ANN401 - an owner, or none
        """It was only stopped, and nobody has reaped it: its next flush renews the lease."""
        job = self.known.get(owner.job_key)
        if job is None or not job.silent or job.attempts != owner.attempt:
            return multiple()
        self._do(flush, owner, self._page(job, count))
        job.rows, job.silent = job.rows + count, False
        return owner

    @rule(data=st.data())
    def reap_one(self, data: st.DataObject) -> None:
        key = self._some(data, State.RUNNING, silent=True)
        if key is not None:
            found = self._do(find_silent, 0.0)
            assert {each.job_key for each in found} >= {key}
            assert self._do(reap, key).outcome is Outcome.LOST
            self.known[key].go_back(counted=True)

    @rule(data=st.data())
    def reap_one_that_lives(self, data: st.DataObject) -> None:
        key = self._some(data, *State)
        if key is not None:
            assert self._do(reap, key) is None

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
        assert (row.attempts_made, row.failures) == (job.attempts, job.failures)
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
        check_rows(connection, row.key, job)
        check_attempts(connection, row.key, job)
        check_events(connection, row, job)

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


def test_whatever_happens_to_jobs_the_book_holds(engine: Engine) -> None:
    run_state_machine_as_test(
        lambda: Lifecycle(engine),  # type: ignore[arg-type]  # it only calls it
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            # Making a failure smaller takes a database thousands of steps; 30 can be read.
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )
