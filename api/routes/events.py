"""What happened, to one job or to all of them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from api.dependencies import SnapshotDependency
from api.documents import problems
from api.parameters import LIST_ITEMS, Cursor, JobId, Limit
from models.domain.errors import CursorInvalid, JobMissing, NotBuilt
from models.schemas.readings import EventList, ProjectEventList
from services.logbook import list_all_events, list_events

STREAM = "text/event-stream"


def no_stream(request: Request) -> None:
    if STREAM in request.headers.get("accept", ""):
        raise NotBuilt("the live stream of events")


router = APIRouter(prefix="/v1", tags=["book"], dependencies=[Depends(no_stream)])


@router.get(
    "/jobs/{job_id}/events",
    operation_id="list_job_events",
    responses=problems(JobMissing, CursorInvalid, NotBuilt),
)
def get_job_events(
    connection: SnapshotDependency, job_id: JobId, limit: Limit = LIST_ITEMS, cursor: Cursor = None
) -> EventList:
    """Read what happened to a job, the first event first."""
    return list_events(connection, job_id, limit, cursor)


@router.get("/events", operation_id="list_events", responses=problems(CursorInvalid, NotBuilt))
def get_events(
    connection: SnapshotDependency,
    project: Annotated[str | None, Query(pattern="^[a-z0-9][a-z0-9._-]{0,63}$")] = None,
    limit: Limit = LIST_ITEMS,
    cursor: Cursor = None,
) -> ProjectEventList:
    """Read what happened to all jobs, or to those of a project, in the order of transactions."""
    return list_all_events(connection, project, limit, cursor)
