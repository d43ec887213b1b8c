"""Reading what happened: events of a job or of all jobs, and what trainers printed."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Column, Connection, Row, Text, cast, func, select, tuple_

from models.domain.errors import CursorInvalid
from models.schemas.readings import Event, EventList, LogLine, LogList, ProjectEvent
from models.schemas.readings import ProjectEventList as AllEvents
from models.tables import events, jobs, logs
from models.tables.metadata import TransactionId
from services.book import open_book
from services.cursors import are_counts, decode_cursor, encode_cursor, is_xid, list_name

_EVENT = [events.c[name] for name in Event.model_fields]
_LINE = [logs.c[name] for name in LogLine.model_fields]


def list_events(connection: Connection, job_id: UUID, limit: int, cursor: str | None) -> EventList:
    """Read a job's events in the order in which they happened.

    Raises:
        JobMissing, CursorInvalid: as they say.

    """
    page = _Page(list_name("events", job_id), limit, cursor)
    rows, next_cursor = _read(connection, job_id, _EVENT, events.c.id, page)
    return EventList(items=[Event.model_validate(row) for row in rows], next_cursor=next_cursor)


def list_log_lines(connection: Connection, job_id: UUID, limit: int, cursor: str | None) -> LogList:
    """Read what a job's trainers printed, the first line first.

    Raises:
        JobMissing, CursorInvalid: as they say.

    """
    page = _Page(list_name("logs", job_id), limit, cursor)
    rows, next_cursor = _read(connection, job_id, _LINE, logs.c.line, page)
    return LogList(items=[LogLine.model_validate(row) for row in rows], next_cursor=next_cursor)


def list_all_events(
    connection: Connection, project: str | None, limit: int, cursor: str | None
) -> AllEvents:
    """Read the events of all jobs (of one project) in the order of their transactions.

    Only those below the oldest transaction that still runs: a younger one may commit before an
    older one, and a reader who had gone past the older would never see its events.

    Raises:
        CursorInvalid: the cursor is not one of this list.

    """
    name = list_name("events", project)
    order = (events.c.xid, events.c.job_key, events.c.id)
    query = (
        select(*_EVENT, cast(jobs.c.id, Text).label("job"), cast(events.c.xid, Text), jobs.c.key)
        .join(jobs, jobs.c.key == events.c.job_key)
        .where(events.c.xid < func.pg_snapshot_xmin(func.pg_current_snapshot()))
        .order_by(*order)
        .limit(limit + 1)
    )
    if project is not None:
        query = query.where(jobs.c.project == project)
    if cursor is not None:
        xid, key, number = _place(name, cursor)
        query = query.where(tuple_(*order) > tuple_(cast(xid, TransactionId()), key, number))
    rows = connection.execute(query).all()
    page = rows[:limit]
    last = [page[-1].xid, page[-1].key, page[-1].id] if len(rows) > limit else None
    return AllEvents(
        items=[ProjectEvent.model_validate(row) for row in page],
        next_cursor=last and encode_cursor(name, last),
    )


class _Page(NamedTuple):
    name: str
    limit: int
    cursor: str | None


def _read(
    connection: Connection,
    job_id: UUID,
    columns: Sequence[Column[Any]],
    number: Column[int],
    page: _Page,
) -> tuple[Sequence[Row[Any]], str | None]:
    """Read a page of what a job's counter numbers, and the cursor of what comes after it."""
    key = open_book(connection, job_id).job_key
    rows = connection.execute(
        select(*columns)
        .where(number.table.c.job_key == key, number > _number(page.name, page.cursor))
        .order_by(number)
        .limit(page.limit + 1)
    ).all()
    shown = rows[: page.limit]
    more = len(rows) > page.limit
    return shown, encode_cursor(page.name, getattr(shown[-1], number.name)) if more else None


def _number(name: str, cursor: str | None) -> int:
    if cursor is None:
        return 0
    match decode_cursor(name, cursor):
        case int(number) if are_counts(number):
            return number
        case _:
            raise CursorInvalid


def _place(name: str, cursor: str) -> tuple[str, int, int]:
    match decode_cursor(name, cursor):
        case [str(xid), int(key), int(number)] if is_xid(xid) and are_counts(key, number):
            return xid, key, number
        case _:
            raise CursorInvalid
