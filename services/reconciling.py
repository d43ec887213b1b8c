"""Tickets against jobs: what the broker lost, or sent to the wrong worker, is made up for."""

from typing import NamedTuple

from sqlalchemy import Connection, func, or_, select, text

from models.tables import jobs
from services.claims import waiting_for
from services.fleet import Crew, crews, forget_the_lost

# Any constant will do: the workers of one database must agree on it.
ADVISORY_LOCK = 7_236_842_002


class Queue(NamedTuple):
    """What a queue needs: jobs that could run now, and slots that are free for them."""

    name: str
    waiting: int
    free: int

    @property
    def tickets(self) -> int:
        return min(self.waiting, self.free)


def queues_in_need(connection: Connection) -> list[Queue]:
    """Count, for every queue, the queued jobs that fit the fleet and the fleet's free slots.

    Only one worker at a time gets an answer; it holds an advisory lock until the transaction
    ends, so keep that short and ask the broker afterwards.

    Returns:
        Queues with both; none where another worker is counting.

    """
    alone = connection.scalar(
        text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK}
    )
    if not alone:
        return []
    forget_the_lost(connection)
    found = []
    for name, crew in crews(connection).items():
        waiting = _count_waiting(connection, name, crew)
        if waiting and crew.free:
            found.append(Queue(name, waiting, crew.free))
    return found


def _count_waiting(connection: Connection, queue: str, crew: Crew) -> int:
    """Count queued jobs, up to as many as are of use: a long queue costs no more."""
    fits = or_(*(waiting_for(queue, devices, each) for each, devices in crew.devices.items()))
    first = select(jobs.c.key).where(fits).limit(crew.free).subquery()
    return connection.scalar(select(func.count()).select_from(first)) or 0
