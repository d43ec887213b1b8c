"""The fleet: each worker keeps a row of its own fresh, and takes it away when it leaves."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, ScalarSelect, case, delete, func, select
from sqlalchemy.dialects.postgresql import JSONB, insert

from models.domain.offers import Offers, plain
from models.tables import attempts, workers

FRESH_SECONDS = 15
"""A worker that was not seen for so long is not counted on, neither for tickets nor in what
clients are told: three heartbeats are missing."""
FORGOTTEN_SECONDS = 3600
"""A worker that was not seen for so long is taken out of the book."""


Packages = frozenset[str]


class Worker(NamedTuple):
    """A worker as it introduces itself; `devices` holds one a slot, `offers` one a package."""

    name: str
    host: str
    pid: int
    devices: Sequence[str]
    queues: Sequence[str]
    offers: Offers = MappingProxyType({})


class Crew(NamedTuple):
    """The workers of one queue, and how many of their slots are free.

    `devices` holds their slots' devices, by the packages whose code they let jobs name.
    """

    devices: Mapping[Packages, frozenset[str]]
    free: int

    @property
    def every_device(self) -> frozenset[str]:
        return frozenset[str]().union(*self.devices.values())

    def devices_with(self, packages: Collection[str]) -> frozenset[str]:
        """The devices of workers that let a job name code of these packages."""
        fitting = (devices for offered, devices in self.devices.items() if offered >= {*packages})
        return frozenset[str]().union(*fitting)


def heartbeat(connection: Connection, worker: Worker) -> None:
    """Say that the worker is there; the first time, or where its row is gone, register it."""
    values = {
        "host": worker.host,
        "pid": worker.pid,
        "slots": len(worker.devices),
        "devices": list(worker.devices),
        "queues": list(worker.queues),
        "packages": sorted(worker.offers),
    }
    insertion = insert(workers).values(name=worker.name, **values, entrypoints=plain(worker.offers))
    # What is already there is not written again: it may be long.
    kept = case(
        (workers.c.entrypoints == insertion.excluded.entrypoints, workers.c.entrypoints),
        else_=insertion.excluded.entrypoints,
    )
    now = {"entrypoints": kept, "last_seen": func.clock_timestamp()}
    connection.execute(
        insertion.on_conflict_do_update(constraint="pk_workers", set_={**values, **now})
    )


def leave(connection: Connection, worker: Worker) -> None:
    """Take the worker out of the fleet, unless another process has its name by now."""
    connection.execute(
        delete(workers).where(workers.c.name == worker.name, workers.c.pid == worker.pid)
    )


def forget_the_lost(connection: Connection) -> None:
    """Take out workers that have not been seen for an hour."""
    limit = func.clock_timestamp() - timedelta(seconds=FORGOTTEN_SECONDS)
    connection.execute(delete(workers).where(workers.c.last_seen < limit))


def fresh() -> ColumnElement[bool]:
    """The condition that a row of `workers` is of one that can be counted on."""
    limit = func.clock_timestamp() - timedelta(seconds=FRESH_SECONDS)
    return workers.c.last_seen > limit


def crews(connection: Connection) -> dict[str, Crew]:
    """The crew of each queue that has one."""
    return crews_of(connection.scalars(_ALL).one())


def crews_of(found: Sequence[Any]) -> dict[str, Crew]:
    """Put together what `all_crews` has selected."""
    made: dict[str, Crew] = {}
    for queues, devices, packages, free in found:
        offered = frozenset(packages)
        for queue in queues:
            known = made.get(queue, Crew({}, 0))
            alike = known.devices.get(offered, frozenset()) | set(devices)
            made[queue] = Crew({**known.devices, offered: alike}, known.free + max(0, free))
    return made


def all_crews() -> ScalarSelect[Any]:
    """Of each worker: its queues, devices and packages, and how many of its slots are free.

    One value, so that it goes along with what else is asked for.
    """
    busy = (
        select(func.count())
        .where(attempts.c.worker == workers.c.name, attempts.c.ended_at.is_(None))
        .scalar_subquery()
    )
    one = func.jsonb_build_array(
        workers.c.queues, workers.c.devices, workers.c.packages, workers.c.slots - busy
    )
    every = func.coalesce(func.jsonb_agg(one), func.jsonb_build_array(), type_=JSONB)
    return select(every).where(fresh()).scalar_subquery()


# Made once: every submit and every poll of a job that waits asks for it.
_ALL = select(all_crews())
