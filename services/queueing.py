"""What a queued job waits for, and how many are before it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, func, select

from models.domain.lifecycle import State
from models.schemas.job import WaitingFor
from models.tables import attempts, jobs, workers
from services.claims import fitting
from services.job_view import Wait

SEEN_SECONDS = 30
"""A queue whose workers were not seen for so long has none, as far as its clients are told."""


class Crew(NamedTuple):
    """The workers of one queue: their slots' devices, and how many of the slots are free."""

    devices: frozenset[str]
    free: int


class Now(NamedTuple):
    """What all queues have in common at one moment."""

    at: datetime
    crews: dict[str, Crew]


def waits(connection: Connection, rows: Sequence[Row[Any]]) -> dict[int, Wait]:
    """Tell for each queued job among the rows where it stands and why; by the job's key."""
    queued = [row for row in rows if row.state == State.QUEUED]
    if not queued:
        return {}
    positions = _positions(connection, {row.queue for row in queued}, [row.key for row in queued])
    now = _now(connection)
    return {
        row.key: Wait(positions[row.key], _waiting_for(row, positions[row.key], now))
        for row in queued
        if row.key in positions
    }


def _positions(connection: Connection, queues: set[str], keys: Sequence[int]) -> dict[int, int]:
    """Count from 1 in the order in which jobs are claimed, each queue by itself."""
    place = func.row_number().over(
        partition_by=jobs.c.queue, order_by=(jobs.c.priority.desc(), jobs.c.key)
    )
    line = (
        select(jobs.c.key, place.label("place"))
        .where(jobs.c.state == State.QUEUED, jobs.c.queue.in_(queues))
        .subquery()
    )
    found = connection.execute(select(line.c.key, line.c.place).where(line.c.key.in_(keys)))
    return {row.key: row.place for row in found}


def _now(connection: Connection) -> Now:
    busy = (
        select(func.count())
        .where(attempts.c.worker == workers.c.name, attempts.c.ended_at.is_(None))
        .scalar_subquery()
    )
    moment = func.clock_timestamp()
    seen = workers.c.last_seen > moment - timedelta(seconds=SEEN_SECONDS)
    crews: dict[str, Crew] = {}
    for queues, devices, free in connection.execute(
        select(workers.c.queues, workers.c.devices, workers.c.slots - busy).where(seen)
    ):
        for queue in queues:
            known = crews.get(queue, Crew(frozenset(), 0))
            crews[queue] = Crew(known.devices | set(devices), known.free + max(0, free))
    return Now(connection.execute(select(moment)).scalar_one(), crews)


def _waiting_for(row: Row[Any], position: int, now: Now) -> WaitingFor:
    crew = now.crews.get(row.queue)
    if crew is None:
        return WaitingFor(
            reason="no_worker",
            detail=f"no worker of queue {row.queue!r} was seen in the last {SEEN_SECONDS} s",
        )
    if not any(row.device in fitting(device) for device in crew.devices):
        return WaitingFor(
            reason="device",
            detail=f"no worker of queue {row.queue!r} has a device for {row.device!r}: they have "
            + ", ".join(sorted(crew.devices)),
        )
    return WaitingFor(reason="turn", detail=_turn(row, position, crew, now.at))


def _turn(row: Row[Any], position: int, crew: Crew, at: datetime) -> str:
    if row.not_before is not None and row.not_before > at:
        return f"it is tried again in {(row.not_before - at).total_seconds():.0f} s"
    if position > 1:
        others = "1 job is" if position == 2 else f"{position - 1:,} jobs are"  # noqa: PLR2004
        return f"{others} before it"
    if crew.free:
        return "it is next, and a slot is free"
    return "it is next; every slot is busy"
