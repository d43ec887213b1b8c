"""A ticket that is of no use to the worker that took it may be of use to another one."""

from collections.abc import Collection

from sqlalchemy import Connection, and_, func, not_, or_, select

from models.tables import attempts, jobs, workers
from services.claims import fitting, names_only, waiting_for
from services.fleet import fresh


def fits_elsewhere(
    connection: Connection,
    queue: str,
    worker: str,
    devices: Collection[str],
    packages: Collection[str] = (),
) -> bool:
    """Whether a job of the queue waits that a free slot of a worker beside this one can take.

    A job that fits one of the devices, those of the slots that the worker has tried, and its
    packages does not count: where it did not find it, somebody else is claiming it at this moment.
    """
    tried = _wanted(devices)
    theirs = {
        offered: free
        for offered, free in _free_devices(connection, queue, but=worker).items()
        if not (_wanted(free) <= tried and offered <= {*packages})
    }
    if not theirs:
        return False
    fits = or_(*(waiting_for(queue, free, offered) for offered, free in theirs.items()))
    mine = and_(jobs.c.device.in_(tried), names_only(packages))
    found = select(jobs.c.key).where(fits, not_(mine))
    return bool(connection.scalar(select(found.exists())))


def _wanted(devices: Collection[str]) -> set[str]:
    return {wanted for device in devices for wanted in fitting(device)}


def _free_devices(
    connection: Connection, queue: str, *, but: str
) -> dict[frozenset[str], set[str]]:
    """The devices of slots that have no job, as the book knows them, by their packages."""
    taken = (
        select(func.array_agg(attempts.c.slot))
        .where(attempts.c.worker == workers.c.name, attempts.c.ended_at.is_(None))
        .scalar_subquery()
    )
    others = connection.execute(
        select(workers.c.packages, workers.c.devices, func.coalesce(taken, [])).where(
            fresh(), workers.c.name != but, workers.c.queues.contains([queue])
        )
    )
    free: dict[frozenset[str], set[str]] = {}
    for packages, devices, numbers in others:
        alike = free.setdefault(frozenset(packages), set())
        alike |= {device for number, device in enumerate(devices) if number not in numbers}
    return free
