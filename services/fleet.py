"""The fleet: each worker keeps a row of its own fresh, and takes it away when it leaves."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, ScalarSelect, delete, func, select
from sqlalchemy.dialects.postgresql import JSONB, insert

from models.tables import attempts, workers

FRESH_SECONDS = 15
"""A worker that was not seen for so long is not counted on, neither for tickets nor in what
clients are told: three heartbeats are missing."""
FORGOTTEN_SECONDS = 3600
"""A worker that was not seen for so long is taken out of the book."""


class Worker(NamedTuple):
    """A worker as it introduces itself; `devices` holds one a slot."""

    name: str
    host: str
    pid: int
    devices: Sequence[str]
    queues: Sequence[str]


class Crew(NamedTuple):
    """The workers of one queue: their slots' devices, and how many of the slots are free."""

    devices: frozenset[str]
    free: int


def heartbeat(connection: Connection, worker: Worker) -> None:
    """Say that the worker is there; the first time, or where its row is gone, register it."""
    values = {
        "host": worker.host,
        "pid": worker.pid,
        "slots": len(worker.devices),
        "devices": list(worker.devices),
        "queues": list(worker.queues),
    }
    connection.execute(
        insert(workers)
        .values(name=worker.name, **values)
        .on_conflict_do_update(
            constraint="pk_workers", set_={**values, "last_seen": func.clock_timestamp()}
        )
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
    for queues, devices, free in found:
        for queue in queues:
            known = made.get(queue, Crew(frozenset(), 0))
            made[queue] = Crew(known.devices | set(devices), known.free + max(0, free))
    return made


def all_crews() -> ScalarSelect[Any]:
    """Of each worker: its queues, its devices, and how many of its slots are free.

    One value, so that it goes along with what else is asked for.
    """
    busy = (
        select(func.count())
        .where(attempts.c.worker == workers.c.name, attempts.c.ended_at.is_(None))
        .scalar_subquery()
    )
    one = func.jsonb_build_array(workers.c.queues, workers.c.devices, workers.c.slots - busy)
    every = func.coalesce(func.jsonb_agg(one), func.jsonb_build_array(), type_=JSONB)
    return select(every).where(fresh()).scalar_subquery()


# Made once: every submit and every poll of a job that waits asks for it.
_ALL = select(all_crews())
