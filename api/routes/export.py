"""The rows of many jobs in one answer."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from api import row_writings
from api.dependencies import PartsDependency
from api.documents import problems
from api.editions import NOT_MODIFIED, Edition, IfNoneMatch
from api.negotiation import preferred_format
from api.parameters import LARGEST
from api.row_writings import writing_of
from api.streaming import stream_snapshot
from models.domain.errors import ArchiveAway, ArchiveSpoilt, JobMissing, QueryInvalid
from services.exports import MOST_JOBS, ExportQuery, read_export
from services.iterations import IterationsQuery, parse_fields

router = APIRouter(prefix="/v1", tags=["book"])

Format = Literal["ndjson", "csv", "arrow", "parquet"]

RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A row a line (NDJSON, CSV), or columns of rows (Arrow, Parquet).",
        "content": row_writings.CONTENT,
    },
    **NOT_MODIFIED,
    **problems(JobMissing, QueryInvalid, ArchiveSpoilt, ArchiveAway),
}


async def wanted_jobs(
    job: Annotated[list[UUID], Query(min_length=1, max_length=MOST_JOBS, description="Each once.")],
    first: Annotated[int | None, Query(alias="from", ge=1, le=LARGEST)] = None,
    last: Annotated[int | None, Query(alias="to", ge=1, le=LARGEST)] = None,
    fields: Annotated[
        str | None, Query(description="`loss,lr`; `job` and `iteration` always")
    ] = None,
) -> ExportQuery:
    rows = IterationsQuery(parse_fields(fields), first, last)
    return ExportQuery(tuple(dict.fromkeys(job)), rows)


async def wanted_format(
    request: Request, form: Annotated[Format | None, Query(alias="format")] = None
) -> str:
    """JSON can't be streamed: who says nothing, or wants it, gets an object a line."""
    wanted = form or preferred_format(request.headers.get("accept", ""))
    return "ndjson" if wanted == "json" else wanted


@router.get("/export", operation_id="export_jobs", responses=RESPONSES, response_class=Response)
async def get_export(
    parts: PartsDependency,
    query: Annotated[ExportQuery, Depends(wanted_jobs)],
    form: Annotated[str, Depends(wanted_format)],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Export the rows of up to 200 jobs, job after job as they are named, all of one moment.

    The id of a row's job stands in front, as `job`. A job that is not there is refused before
    anything is sent; one that is named twice comes once.
    """
    edition = Edition(query.job_ids, ["export", form, query.rows], if_none_match)
    return await stream_snapshot(
        parts,
        lambda connection: read_export(connection, query, parts.archives),
        writing_of(form, query.columns),
        edition,
    )
