"""Who trains, and for which projects."""

from fastapi import APIRouter

from api.dependencies import SnapshotDependency
from api.documents import problems
from api.parameters import LIST_ITEMS, Cursor, Limit
from models.domain.errors import CursorInvalid
from models.schemas.catalogue import ProjectList, WorkerList
from services.workers_view import list_projects, list_workers

router = APIRouter(prefix="/v1", tags=["fleet"])


@router.get("/workers", operation_id="list_workers")
def get_workers(connection: SnapshotDependency) -> WorkerList:
    """List the workers and what they run."""
    return WorkerList(items=list(list_workers(connection)))


@router.get("/projects", operation_id="list_projects", responses=problems(CursorInvalid))
def get_projects(
    connection: SnapshotDependency, limit: Limit = LIST_ITEMS, cursor: Cursor = None
) -> ProjectList:
    """List the projects that have jobs."""
    return list_projects(connection, limit, cursor)
