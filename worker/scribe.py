"""Writes an attempt's pages, come what may: an outage is waited out, and nothing twice."""

import random
import time
from collections.abc import Callable

from sqlalchemy import Connection

from foundation.faults import Moment, reach
from foundation.logging import get_logger
from services.copying import copy_losses
from services.endings import Ending, end_attempt
from services.lifecycle import Happening
from services.pages import Page
from services.recording import Answer, Owner, committed, flush
from worker.files import remove
from worker.line import OUTAGES, Line
from worker.shutdown import Shutdown

log = get_logger("worker")

WORTH_TELLING_SECONDS = 1.0
"""An outage that lasted so long is an event of the job."""
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 2.0

LOOKS_A_LEASE = 4

Work = Callable[[Connection], Answer]


def longest_pause(lease_seconds: float) -> float:
    """How long to wait at most before the database is tried again, in seconds.

    Once it is back nobody is reaped for one lease: who sleeps through that finds the job taken.
    """
    return min(LONGEST_PAUSE_SECONDS, lease_seconds / LOOKS_A_LEASE)


class GraceOver(RuntimeError):
    """The database did not come back before the worker had to leave."""


class Waited:
    """How long an attempt has waited for the database; told by the page that gets through."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._written = 0.0
        self._began: float | None = None
        self._told: Happening | None = None

    def begin(self) -> None:
        """An outage has begun, or goes on."""
        self._began = self._began or time.monotonic()

    def end(self) -> None:
        """The page got through."""
        self._seconds += self._lasted()
        self._began = self._told = None

    def write(self, page: Page, attempt: int) -> None:
        """Put into the page what is to be told; where it is tried again, what is true by now."""
        lasted = self._lasted()
        if self._seconds + lasted != self._written:
            self._written = page.attempt["waited_seconds"] = self._seconds + lasted
        if lasted >= WORTH_TELLING_SECONDS:
            page.happenings = [each for each in page.happenings if each is not self._told]
            data = {"message": "the database was away", "seconds": round(lasted, 3)}
            self._told = Happening("warning", attempt, data)
            page.happenings.append(self._told)

    def _lasted(self) -> float:
        return 0.0 if self._began is None else time.monotonic() - self._began


class Scribe:
    """Writes for one attempt.

    Args:
        line: the slot's session.
        owner: the attempt.
        shutdown: the worker's; once its grace is over an outage is not waited out any more.
        written: called once a page is in the book; must not block.

    """

    def __init__(
        self, line: Line, owner: Owner, shutdown: Shutdown, written: Callable[[], None]
    ) -> None:
        self._line = line
        self._written = written
        self._owner = owner
        self._shutdown = shutdown
        self._booked_session = line.session
        self._log = log.bind(job_key=owner.job_key, attempt=owner.attempt)
        self._waited = Waited()

    def write(self, page: Page) -> Answer:
        """Flush the page, once.

        Raises:
            FenceLost: the attempt does not own the job any more.
            RowsBroken: the page does not go on where the book ends.
            GraceOver: see there.

        """
        return self._once(page, lambda connection: flush(connection, self._owner, page))

    def end(self, page: Page, ending: Ending) -> Answer:
        """Flush the last page and end the attempt, once. Raises as `write` does."""
        return self._once(
            page, lambda connection: end_attempt(connection, self._owner, page, ending)
        )

    def losses(self, first: int, last: int) -> bytes:
        """Read losses of the book, of iterations `first` to `last`, as little-endian float64.

        Raises:
            GraceOver: see there.

        """
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                with self._line.transaction() as connection:
                    return b"".join(copy_losses(connection, self._owner.job_key, first, last))
            except OUTAGES as outage:
                pause = self._sit_out(outage, pause)

    def _once(self, page: Page, work: Work) -> Answer:
        pause = FIRST_PAUSE_SECONDS
        unsettled: Answer | None = None
        while True:
            answer: Answer | None = None
            try:
                if unsettled is not None:
                    if self._is_committed(unsettled):
                        answer = unsettled
                        break
                    unsettled = None
                with self._line.transaction() as connection:
                    page.new_session = self._line.session != self._booked_session
                    self._waited.write(page, self._owner.attempt)
                    answer = work(connection)
                    reach(Moment.BEFORE_COMMIT)
                reach(Moment.AFTER_COMMIT)
                break
            except OUTAGES as outage:
                # With an answer in hand the commit was sent: its fate must be read back.
                unsettled = answer or unsettled
                pause = self._sit_out(outage, pause)
        self._booked_session = self._line.session
        self._waited.end()
        self._written()
        for uri in answer.superseded:
            remove(uri)
        return answer

    def _sit_out(self, outage: Exception, pause: float) -> float:
        """Wait a little; returns how long to wait the next time."""
        self._waited.begin()
        self._log.warning("database.away", reason=str(outage)[:500])
        if self._shutdown.over:
            raise GraceOver from outage
        time.sleep(pause * (0.5 + random.random() / 2))  # noqa: S311 - no secret
        return min(2 * pause, longest_pause(self._owner.lease_seconds))

    def _is_committed(self, answer: Answer) -> bool:
        with self._line.transaction() as connection:
            return committed(connection, self._owner, answer.number)
