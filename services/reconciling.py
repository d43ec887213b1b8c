"""Tickets against jobs: what the broker lost, or sent to the wrong worker, is made up for."""

from collections import Counter
from typing import NamedTuple

from sqlalchemy import Connection, func, or_, select, text

from models.domain.lifecycle import State
from models.tables import attempts, jobs, workers
from services.claims import fitting
from services.fleet import forget_the_lost, fresh

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
    free, devices = _fleet(connection)
    found = []
    for name in free:
        waiting = _waiting(connection, name, devices[name], most=free[name])
        if waiting and free[name]:
            found.append(Queue(name, waiting, free[name]))
    return found


def _fleet(connection: Connection) -> tuple[Counter[str], dict[str, set[str]]]:
    """Free slots, and the kinds of device, that serve each queue."""
    busy = (
        select(func.count())
        .where(attempts.c.worker == workers.c.name, attempts.c.ended_at.is_(None))
        .scalar_subquery()
    )
    free: Counter[str] = Counter()
    devices: dict[str, set[str]] = {}
    rows = connection.execute(
        select(workers.c.queues, workers.c.devices, workers.c.slots - busy).where(fresh())
    )
    for queues, owned, slots in rows:
        for queue in queues:
            free[queue] += max(0, slots)
            devices.setdefault(queue, set()).update(owned)
    return free, devices


def _waiting(connection: Connection, queue: str, devices: set[str], *, most: int) -> int:
    """Count queued jobs, up to as many as are of use: a long queue costs no more."""
    fits = {wanted for device in devices for wanted in fitting(device)}
    due = or_(jobs.c.not_before.is_(None), jobs.c.not_before <= func.clock_timestamp())
    first = (
        select(jobs.c.key)
        .where(jobs.c.queue == queue, jobs.c.state == State.QUEUED, jobs.c.device.in_(fits), due)
        .limit(most)
        .subquery()
    )
    return connection.scalar(select(func.count()).select_from(first)) or 0
