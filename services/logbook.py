"""Reading what happened to a job, and what its trainers printed."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Column, Connection, Row, select

from models.domain.errors import CursorInvalid
from models.schemas.readings import Event, EventList, LogLine, LogList
from models.tables import events, logs
from services.book import open_book
from services.cursors import are_counts, decode_cursor, encode_cursor, list_name

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
