"""The rows of a job, one a pass over its training samples."""

from fastapi import APIRouter

from api.dependencies import SnapshotDependency
from api.documents import problems
from api.parameters import LIST_ITEMS, Cursor, JobId, Limit
from models.domain.errors import CursorInvalid, JobMissing, Rewound
from models.schemas.readings import EpochList
from services.epochs import list_epochs

router = APIRouter(prefix="/v1", tags=["book"])


@router.get(
    "/jobs/{job_id}/epochs",
    operation_id="list_epochs",
    responses=problems(JobMissing, CursorInvalid, Rewound),
)
def get_epochs(
    connection: SnapshotDependency, job_id: JobId, limit: Limit = LIST_ITEMS, cursor: Cursor = None
) -> EpochList:
    """Read finished epochs, the first one first."""
    return list_epochs(connection, job_id, limit, cursor)
