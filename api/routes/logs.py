"""What a job's trainers printed."""

from fastapi import APIRouter

from api.dependencies import SnapshotDependency
from api.documents import problems
from api.parameters import LIST_ITEMS, Cursor, JobId, Limit
from models.domain.errors import CursorInvalid, JobMissing
from models.schemas.readings import LogList
from services.logbook import list_log_lines

router = APIRouter(prefix="/v1", tags=["book"])


@router.get(
    "/jobs/{job_id}/logs",
    operation_id="list_log_lines",
    responses=problems(JobMissing, CursorInvalid),
)
def get_logs(
    connection: SnapshotDependency, job_id: JobId, limit: Limit = LIST_ITEMS, cursor: Cursor = None
) -> LogList:
    """Read lines, the first one first."""
    return list_log_lines(connection, job_id, limit, cursor)
