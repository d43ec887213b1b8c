"""Server-sent events as bytes: frames, and the ids by which a client goes on where it was.

A frame's data is one line of JSON, which writes the line breaks of any text as escapes: whatever
stands in a name or a log line, no frame can be broken with it.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel

from models.domain.errors import Breach, CursorInvalid, QueryInvalid
from services.cursors import are_counts, decode_cursor, encode_cursor, is_xid, list_name
from services.following import Mark
from services.project_events import Point

MEDIA_TYPE = "text/event-stream"
COMMENT = b":\n\n"
"""Clients pass it over; a connection that is broken shows by it."""

# No breaks to a server-sent event, but to clients that read lines as Python cuts text into them.
_LINE_BREAKS = {c.encode(): f"\\u{ord(c):04x}".encode() for c in "\u0085\u2028\u2029"}

Subject = UUID | str | None
"""Whose stream it is: a job's, or a project's; None: all projects'."""


def frame(kind: str, data: bytes, id_: str) -> bytes:
    """Write an event; `id_` is what a client sends as Last-Event-ID once it has seen it."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (id_.encode(), kind.encode(), data)


def id_alone(id_: str) -> bytes:
    """Let a client know how far it is, without an event."""
    return b"id: %b\n\n" % id_.encode()


def event(
    kind: str, data: object, *, at: datetime | None = None, attempt: int | None = None
) -> bytes:
    """Write an Event that is not stored, and so has no number."""
    return text_of({"id": None, "at": at, "type": kind, "attempt": attempt, "data": data})


def text_of(data: object) -> bytes:
    """Write answers of models/schemas, and what holds them, as one line of JSON."""
    line = orjson.dumps(data, default=_of_model, option=orjson.OPT_UTC_Z)
    for character, escape in _LINE_BREAKS.items():
        line = line.replace(character, escape)
    return line


def job_id(job: UUID, mark: Mark) -> str:
    """Name how far a job's stream was followed."""
    return encode_cursor(_name(job), list(mark))


def project_id(project: str | None, point: Point) -> str:
    """Name how far a project's stream was followed."""
    return encode_cursor(_name(project), list(point))


def read_job_id(job: UUID, text: str) -> Mark:
    """Read what `job_id` has written for this job.

    Raises:
        QueryInvalid: it has not.

    """
    match _decoded(job, text):
        case [event, rewinds, iteration, None] if are_counts(event, rewinds, iteration):
            return Mark(event, rewinds, iteration)
        case [event, rewinds, iteration, line] if are_counts(event, rewinds, iteration, line):
            return Mark(event, rewinds, iteration, line)
        case _:
            raise unknown_id()


def read_project_id(project: str | None, text: str) -> Point:
    """Read what `project_id` has written for this project.

    Raises:
        QueryInvalid: it has not.

    """
    match _decoded(project, text):
        case [str(xid), key, number] if are_counts(key, number) and is_xid(xid):
            return Point(xid, key, number)
        case _:
            raise unknown_id()


def unknown_id() -> QueryInvalid:
    """Refuse a Last-Event-ID: without it the stream begins anew."""
    return QueryInvalid([Breach(("header", "last-event-id"), "not an id of this stream")])


def _name(subject: Subject) -> str:
    return list_name("live", "job" if isinstance(subject, UUID) else "project", subject)


def _decoded(subject: Subject, text: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return decode_cursor(_name(subject), text)
    except CursorInvalid:
        raise unknown_id() from None


def _of_model(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError
