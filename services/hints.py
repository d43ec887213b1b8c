"""Hints: which jobs have changed, said after the commit to whoever listens.

A NOTIFY inside a flush would make all commits wait for each other: PostgreSQL lets one transaction
at a time put words into its queue. So a thread says them afterwards, for many jobs at once. One
that is lost costs its listeners the time until they look anyway.
"""

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from foundation.logging import get_logger
from services.database import transaction

log = get_logger("services")

CHANNEL = "gradbook_jobs"
PAUSE_SECONDS = 0.1
"""Between two times that one process says something."""
MOST_JOBS = 10_000
"""That wait to be told of: in an outage it would grow without an end."""
STOP_SECONDS = 1.0
_JOBS_A_HINT = 200
"""PostgreSQL takes 7,999 bytes, and a job's id with its comma has 33."""

_ID = re.compile("[0-9a-f]{32}")

# Written to no disk before it is answered: there is nothing in it that could be lost.
_SAY = text(
    "SELECT set_config('synchronous_commit', 'off', true), pg_notify(:channel, said)"
    " FROM unnest(CAST(:hints AS text[])) AS said"
)


Tell = Callable[[UUID], None]


def tell_nobody(_job_id: UUID) -> None:
    """Do without hints: whoever follows the job looks anyway."""


class Notifier:
    """Says which jobs have changed, on a thread of its own.

    Args:
        engine: the way to the database; one connection of it is used at a time.
        pause_seconds: between two times.

    """

    def __init__(self, engine: Engine, pause_seconds: float = PAUSE_SECONDS) -> None:
        self.engine, self._pause_seconds = engine, pause_seconds
        self._changed = threading.Condition()
        self._jobs: set[UUID] = set()
        self._stopped = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def tell(self, *job_ids: UUID) -> None:
        """Say soon that these jobs have changed; the change is committed. Never blocks."""
        with self._changed:
            if len(self._jobs) < MOST_JOBS:
                self._jobs.update(job_ids)
                self._changed.notify()

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Let the thread say what it has still to say, and end; left behind where it hangs."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join(seconds)

    def _run(self) -> None:
        while jobs := self._next():
            try:
                with transaction(self.engine) as connection:
                    say(connection, jobs)
                self._failing = False
            except Exception as error:  # noqa: BLE001 - a thread's edge: whatever it is, go on
                if not self._failing:
                    log.warning("hint.lost", reason=str(error)[:500])
                self._failing = True
            with self._changed:
                self._changed.wait_for(lambda: self._stopped, self._pause_seconds)

    def _next(self) -> set[UUID]:
        """Wait for jobs to tell of; none once stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._stopped)
            jobs, self._jobs = self._jobs, set()
            return jobs


def say(connection: Connection, job_ids: Iterable[UUID]) -> None:
    """Tell who listens, once the transaction is committed; it should do nothing else."""
    ids = [job_id.hex for job_id in job_ids]
    hints = [",".join(some) for some in _batches(ids)]
    connection.execute(_SAY, {"channel": CHANNEL, "hints": hints})


def heard(payload: str) -> set[UUID]:
    """Read which jobs a hint tells of. Anybody may send one: what is no id is passed over."""
    return {UUID(hex=word) for word in payload.split(",") if _ID.fullmatch(word)}


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[at : at + _JOBS_A_HINT] for at in range(0, len(ids), _JOBS_A_HINT))
