"""A run: twins left alone, then round after round of faults, and after each the promise."""

import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from cli.client import Client
from cli.verification import verify_book
from models.domain.lifecycle import FINISHED, State, StopReason
from tests.chaos.book import Book, read_book, read_books
from tests.chaos.control import Control
from tests.chaos.deck import Hand, Harm, Strike
from tests.chaos.faults import Faults
from tests.chaos.invariants import Bounds, Violation, violations_of
from tests.chaos.pool import Pool
from tests.chaos.report import Report
from tests.chaos.service import Json, Service
from tests.chaos.specs import undisturbed
from tests.chaos.stack import ChaosStack
from tests.chaos.twins import Twins
from tests.chaos.watcher import Watcher
from tests.waiting import wait_until

ACTIVE = 5
"""Jobs at work or waiting, for four slots: one always waits."""
TWIN_SECONDS = 300.0
DRAIN_SECONDS = 600.0
LAST_ROUNDS = 1
"""Rounds at the end that get no new jobs."""
PAUSE_SECONDS = 1.5
SLACK_SECONDS = 5.0
"""For a machine that has other things to do; a service that has none needs none of it."""

Tell = Callable[[str], None]


class Violated(AssertionError):
    """The promise does not hold."""

    def __init__(self, violations: Iterable[Violation]) -> None:
        super().__init__("\n".join(map(str, violations)))


@dataclass(frozen=True, slots=True)
class Course:
    """What is run: the faults of each round, and the trainings that they disturb."""

    seed: int
    hands: Sequence[Hand]
    specs: Sequence[Json]


class Run:
    """One run on a stack that is whole.

    Args:
        course: what is run.
        stack: on what.
        control: of the processes of the stack.
        chance: everything that is left to it.
        tell: is told each round.

    """

    def __init__(
        self,
        course: Course,
        stack: ChaosStack,
        control: Control,
        chance: random.Random,
        tell: Tell,
    ) -> None:
        self.report = Report(course.seed)
        self._course, self._stack, self._control = course, stack, control
        self._chance, self._tell = chance, tell
        self._service = Service(stack.url)
        self._watcher = Watcher(stack.url)
        specs = {str(spec["name"]): spec for spec in course.specs}
        self._pool = Pool(self._service, self._watcher, specs, chance)
        self._faults = Faults(stack, control, self._service, self._pool, chance)
        self._twins: Twins = {}
        self._place = "twins"
        times = stack.times
        # An attempt is reaped once its lease is over and the reaper has reached the database for
        # a lease period without a break: with the defaults 15 s after its worker's death.
        self._taken_seconds = 2 * times.lease + times.reconcile + 1 + SLACK_SECONDS
        self._bounds = Bounds(overdue=times.lease, outliving=times.lease + SLACK_SECONDS)

    def play(self) -> Report:
        """Play every hand, see every job to its end, and hold all of them against the promise.

        Raises:
            Violated: at the first round after which something does not hold.
            AssertionError: something did not come about in time.

        """
        began = time.monotonic()
        try:
            self._make_twins()
            self._watcher.start()
            for number, hand in enumerate(self._course.hands, start=1):
                self._place = f"round {number} of {len(self._course.hands)}: {_names(hand)}"
                self._round(number, hand)
            self._place = "the end"
            self._drain()
        except AssertionError as failure:
            self._take_stock()
            self.report.violations.append(f"{self._place}\n{failure}")
            raise
        finally:
            self._watcher.stop()
            self._service.close()
            self.report.seconds = time.monotonic() - began
        self._take_stock()
        return self.report

    @property
    def _engine(self) -> Engine:
        return self._stack.engine()

    def _make_twins(self) -> None:
        ids = [self._service.submit(undisturbed(spec)) for spec in self._course.specs]
        for job_id in ids:
            wait_until(
                lambda job_id=job_id: self._service.state(job_id) in FINISHED,  # type: ignore[misc]
                TWIN_SECONDS,
                f"twin {job_id} ends",
            )
        books = read_books(self._engine, ids)
        for book in books:
            assert (book.job.state, len(book.attempts)) == (State.SUCCEEDED, 1), book.title
        self._hold(books)
        self._twins = {book.job.spec_sha256: book for book in books}
        for book in books:
            self._tell(f"twin: {book.title}, {len(book.iterations)} iterations")

    def _round(self, number: int, hand: Hand) -> None:
        began = time.monotonic()
        if number <= len(self._course.hands) - LAST_ROUNDS:
            self._pool.top_up(ACTIVE)
        self._hurt(hand)
        self._stack.wait_until_whole()
        self._settle()
        self._look()
        self.report.rounds = number
        seconds = time.monotonic() - began
        self._tell(f"{self._place}: {seconds:.1f} s, {len(self._pool.ids)} jobs")

    def _hurt(self, hand: Hand) -> None:
        strikes = [fault for fault in hand if isinstance(fault, Strike)]
        now = {strike.moment: strike for strike in strikes}
        for strike in now.values():
            self._faults.do(strike)
        for harm in (fault for fault in hand if isinstance(fault, Harm)):
            time.sleep(self._chance.uniform(0, PAUSE_SECONDS))
            if list(hand) == [Harm.KILL_WORKER]:
                self.report.taken_seconds.append(self._faults.kill_lone_worker())
            else:
                self._faults.do(harm)
        self._faults.see_through(set(now))
        later = [strike for strike in strikes if strike not in now.values()]
        if later:
            self._hurt(later)

    def _settle(self) -> None:
        """Wait until no job has an owner whose lease is over."""
        wait_until(
            self._nothing_overdue,
            self._taken_seconds,
            "every job whose lease is over is taken from its attempt",
        )

    def _nothing_overdue(self) -> bool:
        books = read_books(self._engine, self._pool.active)
        leases = [book.progress.lease_until for book in books]
        return all(lease is None or lease >= books[0].now for lease in leases)

    def _look(self) -> None:
        books = read_books(self._engine, self._pool.active)
        self._hold(books)
        for book in books:
            self._pool.note(book)
        self._blame([*self._pool.changed(self._engine), *self._watcher.violations])

    def _hold(self, books: Sequence[Book]) -> None:
        found = [
            violation
            for book in books
            for violation in violations_of(book, self._twins, self._engine, self._bounds)
        ]
        self._blame(found)

    def _blame(self, violations: Sequence[Violation]) -> None:
        if violations:
            raise Violated(violations)

    def _drain(self) -> None:
        """Let every job come to its end, and look at all of them again."""
        self._control.disarm()
        for job_id in tuple(self._pool.active):
            if self._service.state(job_id) == State.PAUSED:
                self._service.act(job_id, "resume")
        wait_until(self._all_ended, DRAIN_SECONDS, f"jobs {self._pool.active} end")
        for job_id in self._pool.ids:
            self._hold([read_book(self._engine, job_id)])
        with Client(self._stack.url) as client:
            for job_id in self._pool.ids:
                self._verify(client, job_id)

    def _all_ended(self) -> bool:
        self._look()
        return not self._pool.active

    def _verify(self, client: Client, job_id: str) -> None:
        """What `gradbook verify` says of it."""
        checks = verify_book(client, client.job(job_id))
        self._blame([Violation(job_id, check.text) for check in checks if not check.right])

    def _take_stock(self) -> None:
        report = self.report
        report.faults = self._faults.done
        report.unheeded = self._faults.unheeded
        report.count_hits(self._control.hits())
        report.troubles = self._service.troubles
        report.restarts = self._stack.restarts
        report.answers, report.steps_back = self._watcher.answers, self._watcher.steps_back
        books = [read_book(self._engine, job_id) for job_id in self._pool.ids]
        report.count_books(books)
        report.to_the_bit = sum(
            book.job.state == State.SUCCEEDED and book.job.stop_reason != StopReason.STOPPED
            for book in books
        )


def _names(hand: Hand) -> str:
    return " + ".join(map(str, hand))
