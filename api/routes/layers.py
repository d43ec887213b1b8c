"""Each layer's share of the error."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.dependencies import ArchivesDependency, SnapshotDependency
from api.documents import problems
from api.editions import NOT_MODIFIED, Edition, IfNoneMatch
from api.parameters import Cursor, JobId
from api.row_formats import page_json
from models.domain.errors import ArchiveAway, ArchiveSpoilt, CursorInvalid, JobMissing, Rewound
from models.schemas.readings import LayerPage
from services.layers import MOST_PAGE_ROWS, PAGE_ROWS, read_layers

router = APIRouter(prefix="/v1", tags=["book"])


@router.get(
    "/jobs/{job_id}/layers",
    operation_id="read_layers",
    responses={
        200: {"model": LayerPage},
        **NOT_MODIFIED,
        **problems(JobMissing, CursorInvalid, Rewound, ArchiveSpoilt, ArchiveAway),
    },
    response_class=Response,
)
def get_layers(
    *,
    connection: SnapshotDependency,
    archives: ArchivesDependency,
    job_id: JobId,
    limit: Annotated[int, Query(ge=1, le=MOST_PAGE_ROWS)] = PAGE_ROWS,
    cursor: Cursor = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Read columns of readings: a row a measured iteration and layer."""
    edition = Edition([job_id], ["layers", limit, cursor], if_none_match)
    headers = edition.headers(connection)
    if edition.is_known(headers):
        return Response(status_code=304, headers=headers)
    page = read_layers(connection, job_id, limit, cursor, archives)
    rest = {"every": page.every, "next_cursor": page.next_cursor}
    body = page_json(page.columns, rest)
    return Response(body, headers=headers, media_type="application/json")
