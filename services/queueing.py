"""What a queued job waits for, and how many are before it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    Text,
    bindparam,
    func,
    literal_column,
    select,
)

from models.domain.lifecycle import State
from models.schemas.job import WaitingFor
from models.tables import jobs
from services.claims import fitting
from services.fleet import FRESH_SECONDS, Crew, all_crews, crews_of
from services.job_view import Wait


def waits(connection: Connection, rows: Sequence[Row[Any]]) -> dict[int, Wait]:
    """Tell for each queued job among the rows where it stands and why; by the job's key."""
    queued = [row for row in rows if row.state == State.QUEUED]
    if not queued:
        return {}
    line = _COUNTED if len(queued) <= MOST_COUNTED else _NUMBERED
    asked = {"keys": [row.key for row in queued], "queues": list({row.queue for row in queued})}
    found = connection.execute(line, asked).all()
    places = {row.key: (row.place, row.now) for row in found}
    crewed = crews_of(found[0].crews) if found else {}
    waiting = {}
    for row in queued:
        # One that was claimed between two statements has no place any more.
        if row.key in places:
            place, now = places[row.key]
            waiting_for = _waiting_for(row, place, crewed.get(row.queue), now)
            waiting[row.key] = Wait(place, waiting_for)
    return waiting


def _counted() -> Select[Any]:
    """For each job by itself: those before it are counted, by the index of what waits alone.

    Places count from 1 in the order in which jobs are claimed, each queue by itself; beside them
    is the database's time, and who is there to take the jobs.
    """
    before = jobs.alias()

    def count(*conditions: ColumnElement[bool]) -> ColumnElement[int]:
        waiting = (before.c.state == _QUEUED, before.c.queue == jobs.c.queue)
        return select(func.count()).where(*waiting, *conditions).scalar_subquery()

    better = count(before.c.priority > jobs.c.priority)
    # It counts itself, too.
    older = count(before.c.priority == jobs.c.priority, before.c.key <= jobs.c.key)
    return select(jobs.c.key, (better + older).label("place"), *_MOMENT).where(
        jobs.c.key == func.any(_KEYS), jobs.c.state == _QUEUED
    )


def _numbered() -> Select[Any]:
    """All that wait in the queues are numbered, once for however many jobs."""
    place = func.row_number().over(
        partition_by=jobs.c.queue, order_by=(jobs.c.priority.desc(), jobs.c.key)
    )
    line = (
        select(jobs.c.key, place.label("place"))
        .where(
            jobs.c.state == _QUEUED,
            jobs.c.queue == func.any(bindparam("queues", type_=ARRAY(Text))),
        )
        .subquery()
    )
    return select(line.c.key, line.c.place, *_MOMENT).where(line.c.key == func.any(_KEYS))


MOST_COUNTED = 4
_KEYS = bindparam("keys", type_=ARRAY(BigInteger))
# Not a parameter: what serves is an index of the queued ones alone.
_QUEUED: ColumnElement[str] = literal_column("'queued'", Text)
_MOMENT = (func.clock_timestamp().label("now"), all_crews().label("crews"))
_COUNTED, _NUMBERED = _counted(), _numbered()


def _waiting_for(row: Row[Any], place: int, crew: Crew | None, now: datetime) -> WaitingFor:
    if crew is None:
        return WaitingFor(
            reason="no_worker",
            detail=f"no worker of queue {row.queue!r} was seen in the last {FRESH_SECONDS} s",
        )
    devices = crew.devices_with(row.packages)
    if not devices:
        return WaitingFor(
            reason="no_worker",
            detail=f"no worker of queue {row.queue!r} lets a job name code of "
            + " and ".join(row.packages),
        )
    if not any(row.device in fitting(device) for device in devices):
        return WaitingFor(
            reason="device",
            detail=f"no worker of queue {row.queue!r} has a device for {row.device!r}: they have "
            + ", ".join(sorted(devices)),
        )
    return WaitingFor(reason="turn", detail=_turn(row, place, crew, now))


def _turn(row: Row[Any], place: int, crew: Crew, now: datetime) -> str:
    if row.not_before is not None and row.not_before > now:
        return f"it is tried again in {(row.not_before - now).total_seconds():.0f} s"
    before = place - 1
    if before:
        return f"{before:,} {'job is' if before == 1 else 'jobs are'} before it"
    if crew.free:
        return "it is next, and a slot is free"
    return "it is next; every slot is busy"
