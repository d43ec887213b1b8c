"""A ticket that is of no use to the worker that took it may be of use to another one."""

from collections.abc import Collection

from sqlalchemy import Connection, func, select

from models.tables import attempts, jobs, workers
from services.claims import fitting, waiting_for
from services.fleet import fresh


def fits_elsewhere(
    connection: Connection, queue: str, worker: str, devices: Collection[str]
) -> bool:
    """Whether a job of the queue waits that a free slot of a worker beside this one can take.

    A job that fits one of the devices, those of the slots that the worker has tried, does not
    count: where it did not find it, somebody else is claiming it at this moment.
    """
    theirs = _free_devices(connection, queue, but=worker)
    tried = _wanted(devices)
    if _wanted(theirs) <= tried:
        return False
    found = select(jobs.c.key).where(waiting_for(queue, theirs), jobs.c.device.not_in(tried))
    return bool(connection.scalar(select(found.exists())))


def _wanted(devices: Collection[str]) -> set[str]:
    return {wanted for device in devices for wanted in fitting(device)}


def _free_devices(connection: Connection, queue: str, *, but: str) -> set[str]:
    """The devices of slots that have no job, as the book knows them."""
    taken = (
        select(func.array_agg(attempts.c.slot))
        .where(attempts.c.worker == workers.c.name, attempts.c.ended_at.is_(None))
        .scalar_subquery()
    )
    others = connection.execute(
        select(workers.c.devices, func.coalesce(taken, [])).where(
            fresh(), workers.c.name != but, workers.c.queues.contains([queue])
        )
    )
    return {
        device
        for devices, numbers in others
        for number, device in enumerate(devices)
        if number not in numbers
    }
