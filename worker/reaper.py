"""The reaper: jobs whose worker is gone go back to the queue, but not those of an outage."""

import time
from collections.abc import Callable

from sqlalchemy import Engine
from sqlalchemy import exc as database_errors

from foundation.logging import get_logger
from services.database import transaction
from services.hints import Tell, tell_nobody
from services.reaping import (
    Silent,
    find_silent,
    free,
    hash_where_it_ends,
    is_held,
    reap,
)
from worker.rounds import Round

log = get_logger("worker")


class Touch:
    """For how long the database has been reached without a break.

    Args:
        most_seconds: between two times that it was reached; a longer silence is a break. That of
            a process which was stopped is one too.
        clock: seconds that only rise.

    """

    def __init__(self, most_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_seconds = most_seconds
        self._clock = clock
        self._since: float | None = None
        self._last = 0.0

    def reached(self) -> None:
        now = self._clock()
        if self._since is None or now - self._last > self._most_seconds:
            self._since = now
        self._last = now

    def lost(self) -> None:
        self._since = None

    @property
    def seconds(self) -> float:
        return 0.0 if self._since is None else self._last - self._since


class Reaper:
    """Looks for silent attempts and ends them.

    Args:
        engine: the way to the database.
        lease_seconds: of this worker's attempts, and so of everybody's.
        every_seconds: how often `look` is called.
        tell: called with a job that was reaped; must not block.
        clock: seconds that only rise.

    """

    def __init__(
        self,
        engine: Engine,
        lease_seconds: float,
        every_seconds: float,
        *,
        tell: Tell = tell_nobody,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._tell = tell
        self._lease_seconds = lease_seconds
        self._touch = Touch(every_seconds + lease_seconds / 2, clock)

    def look(self) -> None:
        """Reap what is silent; does nothing until the database was in reach for a lease period."""
        try:
            with transaction(self._engine) as connection:
                silent = find_silent(connection, self._lease_seconds)
        except database_errors.SQLAlchemyError:
            self._touch.lost()
            raise
        self._touch.reached()
        if self._touch.seconds < self._lease_seconds:
            return
        for each in silent:
            try:
                self._reap(each)
                self._touch.reached()
            except database_errors.SQLAlchemyError as error:
                # One that can't be reaped must not keep those behind it waiting.
                log.warning("reaping.failed", job_id=str(each.job_id), reason=str(error)[:500])

    def _reap(self, silent: Silent) -> None:
        try:
            with transaction(self._engine) as connection:
                hashed = hash_where_it_ends(connection, silent.job_key)
                ending = reap(connection, silent.job_key, attempt=silent.attempt, hashed=hashed)
        except database_errors.OperationalError as error:
            if not is_held(error):
                raise
            self._free(silent)
            return
        if ending is not None:
            self._tell(silent.job_id)
            log.warning(
                "attempt.reaped",
                job_id=str(silent.job_id),
                attempt=silent.attempt,
                outcome=str(ending.outcome),
                evidence=ending.error and ending.error["message"],
            )

    def _free(self, silent: Silent) -> None:
        """The next look reaps what this has freed."""
        with transaction(self._engine) as connection:
            ended = free(connection, silent, self._lease_seconds)
        if ended:
            log.warning(
                "session.ended",
                job_id=str(silent.job_id),
                attempt=silent.attempt,
                why="it holds rows",
            )


def reaping(
    engine: Engine, lease_seconds: float, every_seconds: float, tell: Tell = tell_nobody
) -> Round:
    """A round of its own: the broker, which others wait for, is nothing to it."""
    reaper = Reaper(engine, lease_seconds, every_seconds, tell=tell)
    return Round("reaper", every_seconds, reaper.look)
