"""Writes an attempt's pages, come what may: an outage is waited out, and nothing twice."""

import random
import time
from collections.abc import Callable

from sqlalchemy import Connection

from foundation.logging import get_logger
from services.endings import Ending, end_attempt
from services.recording import Answer, Owner, Page, committed, flush
from worker.files import remove
from worker.line import OUTAGES, Line
from worker.shutdown import Shutdown

log = get_logger("worker")

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 2.0

Work = Callable[[Connection], Answer]


class GraceOver(RuntimeError):
    """The database did not come back before the worker had to leave."""


class Scribe:
    """Writes for one attempt.

    Args:
        line: the slot's session.
        owner: the attempt.
        shutdown: the worker's; once its grace is over an outage is not waited out any more.

    """

    def __init__(self, line: Line, owner: Owner, shutdown: Shutdown) -> None:
        self._line = line
        self._owner = owner
        self._shutdown = shutdown
        self._booked_session = line.session
        self._log = log.bind(job_key=owner.job_key, attempt=owner.attempt)

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
                    answer = work(connection)
                break
            except OUTAGES as outage:
                # With an answer in hand the commit was sent: its fate must be read back.
                unsettled = answer or unsettled
                self._log.warning("database.away", reason=str(outage)[:500])
                if self._shutdown.over:
                    raise GraceOver from outage
                time.sleep(pause * (0.5 + random.random() / 2))  # noqa: S311 - no secret
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        self._booked_session = self._line.session
        for uri in answer.superseded:
            remove(uri)
        return answer

    def _is_committed(self, answer: Answer) -> bool:
        with self._line.transaction() as connection:
            return committed(connection, self._owner, answer.transaction)
