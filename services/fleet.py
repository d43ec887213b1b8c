"""The fleet: each worker keeps a row of its own fresh, and takes it away when it leaves."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, func
from sqlalchemy.dialects.postgresql import insert

from models.tables import workers

FRESH_SECONDS = 15
"""A worker that was not seen for so long is not counted on: three heartbeats are missing."""
FORGOTTEN_SECONDS = 3600
"""A worker that was not seen for so long is taken out of the book."""


class Worker(NamedTuple):
    """A worker as it introduces itself; `devices` holds one a slot."""

    name: str
    host: str
    pid: int
    devices: Sequence[str]
    queues: Sequence[str]


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
