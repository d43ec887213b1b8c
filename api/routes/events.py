"""What happened, to one job or to all of them: a page of it, or all of it as it happens."""

from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from sqlalchemy import Connection

from api.dependencies import Parts, PartsDependency
from api.documents import problems
from api.event_streams import EventStream
from api.frames import MEDIA_TYPE, read_job_id, read_project_id, unknown_id
from api.negotiation import prefers
from api.parameters import LIST_ITEMS, Cursor, JobId, Limit
from api.telling import JobSeen, Project, ProjectSeen, Seen
from api.viewers import StreamsFull
from models.domain.errors import Breach, CursorInvalid, JobMissing, QueryInvalid
from models.schemas.readings import EventList, ProjectEventList
from services.following import Mark, can_be_at
from services.logbook import list_events
from services.project_events import find_horizon, list_all_events
from services.standing import stands

HEARTBEAT_SECONDS = 15.0
"""Less than the silence after which proxies close a connection, often 30 or 60 s."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A page, or a stream that begins behind the event that its client has seen last."""

    streams: bool
    limit: int
    cursor: str | None
    last_event_id: str | None


async def wanted(
    request: Request,
    limit: Limit = LIST_ITEMS,
    cursor: Cursor = None,
    last_event_id: Annotated[
        str | None, Header(description="Of a stream: the last `id` of the one before.")
    ] = None,
) -> Wanted:
    streams = prefers(request.headers.get("accept", ""), MEDIA_TYPE)
    others = ("limit", "cursor") if streams else ("logs",)
    breaches = [
        Breach(("query", name), f"only of a {'page' if streams else 'stream'}")
        for name in others
        if name in request.query_params
    ]
    if breaches:
        raise QueryInvalid(breaches)
    return Wanted(streams, limit, cursor, last_event_id or None)


router = APIRouter(prefix="/v1", tags=["book"])

WantedDependency = Annotated[Wanted, Depends(wanted)]

PROBLEMS = (CursorInvalid, QueryInvalid, StreamsFull)


def answers(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    stream = {"schema": {"type": "string"}}
    return {
        200: {
            "model": model,
            "description": "A page, or with `Accept: text/event-stream` the live stream.",
            "content": {MEDIA_TYPE: stream},
        }
    }


@router.get(
    "/jobs/{job_id}/events",
    operation_id="list_job_events",
    responses={**answers(EventList), **problems(JobMissing, *PROBLEMS)},
    response_class=Response,
)
async def get_job_events(
    parts: PartsDependency,
    job_id: JobId,
    page: WantedDependency,
    logs: Annotated[bool, Query(description="Of a stream: log lines too.")] = False,  # noqa: FBT002
) -> Response:
    """Read what happened to a job, the first event first; as a stream until the job ends."""
    if page.streams:
        return await _stream_job(parts, job_id, page.last_event_id, logs=logs)
    async with parts.connections.snapshot() as connection:
        found = await run_in_threadpool(list_events, connection, job_id, page.limit, page.cursor)
    return Response(found.model_dump_json(), media_type="application/json")


@router.get(
    "/events",
    operation_id="list_events",
    responses={**answers(ProjectEventList), **problems(*PROBLEMS)},
    response_class=Response,
)
async def get_events(
    parts: PartsDependency,
    page: WantedDependency,
    project: Annotated[str | None, Query(pattern="^[a-z0-9][a-z0-9._-]{0,63}$")] = None,
) -> Response:
    """Read what happened to all jobs, or to those of a project, in the order of transactions.

    A page may have less than `limit`, or nothing, and still a `next_cursor`: a quiet project's
    events are looked for so far at once. A stream begins with what happens from now on.
    """
    if page.streams:
        return await _stream_project(parts, project, page.last_event_id)
    async with parts.connections.snapshot() as connection:
        found = await run_in_threadpool(
            list_all_events, connection, project, page.limit, page.cursor
        )
    return Response(found.model_dump_json(), media_type="application/json")


async def _stream_job(
    parts: Parts, job_id: UUID, last_event_id: str | None, *, logs: bool
) -> EventStream:
    parts.lookout.make_room()
    mark = Mark() if last_event_id is None else read_job_id(job_id, last_event_id)
    async with parts.connections.snapshot() as connection:
        await run_in_threadpool(_check, connection, job_id, mark)
    mark = mark._replace(line=(mark.line or 0) if logs else None)
    return _stream(parts, JobSeen(job_id, mark))


def _check(connection: Connection, job_id: UUID, mark: Mark) -> None:
    stand = stands(connection, [job_id]).get(job_id)
    if stand is None:
        raise JobMissing(str(job_id))
    if not can_be_at(connection, stand, mark):
        raise unknown_id()


async def _stream_project(
    parts: Parts, project: str | None, last_event_id: str | None
) -> EventStream:
    parts.lookout.make_room()
    async with parts.connections.snapshot() as connection:
        horizon = await run_in_threadpool(find_horizon, connection)
    point = horizon.point
    if last_event_id is not None:
        point = read_project_id(project, last_event_id)
        if int(point.xid) > int(horizon.next):
            raise unknown_id()
    return _stream(parts, ProjectSeen(Project(project), point))


def _stream(parts: Parts, seen: Seen) -> EventStream:
    watching = parts.lookout.watching
    return EventStream(watching, seen, parts.leaving, heartbeat_seconds=HEARTBEAT_SECONDS)
