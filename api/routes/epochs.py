"""The rows of a job, one a pass over its training samples."""

from fastapi import APIRouter, Response

from api.dependencies import SnapshotDependency
from api.documents import problems
from api.editions import NOT_MODIFIED, Edition, IfNoneMatch
from api.parameters import LIST_ITEMS, Cursor, JobId, Limit
from models.domain.errors import CursorInvalid, JobMissing, Rewound
from models.schemas.readings import EpochList
from services.epochs import list_epochs

router = APIRouter(prefix="/v1", tags=["book"])


@router.get(
    "/jobs/{job_id}/epochs",
    operation_id="list_epochs",
    response_model=EpochList,
    responses={**NOT_MODIFIED, **problems(JobMissing, CursorInvalid, Rewound)},
)
def get_epochs(
    *,
    connection: SnapshotDependency,
    job_id: JobId,
    limit: Limit = LIST_ITEMS,
    cursor: Cursor = None,
    if_none_match: IfNoneMatch = None,
    response: Response,
) -> EpochList | Response:
    """Read finished epochs, the first one first."""
    edition = Edition([job_id], ["epochs", limit, cursor], if_none_match)
    headers = edition.headers(connection)
    if edition.is_known(headers):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return list_epochs(connection, job_id, limit, cursor)
