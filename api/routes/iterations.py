"""The rows of a job, one a weight update."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from api import row_formats, row_writings
from api.dependencies import PartsDependency
from api.documents import problems
from api.editions import NOT_MODIFIED, Edition, IfNoneMatch
from api.negotiation import preferred_format
from api.parameters import LARGEST, LARGEST_EPOCH, Cursor, JobId
from api.row_writings import writing_of
from api.streaming import stream_snapshot
from models.domain.errors import ArchiveAway, ArchiveSpoilt, JobMissing, QueryInvalid, Rewound
from models.schemas.readings import IterationPage
from services.iterations import (
    MOST_PAGE_ROWS,
    PAGE_ROWS,
    IterationsPage,
    IterationsQuery,
    parse_fields,
    read_page,
    read_run,
)

router = APIRouter(prefix="/v1", tags=["book"])

Format = Literal["json", "ndjson", "csv", "arrow", "parquet"]

RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": IterationPage,
        "description": "Columns of rows (JSON, Arrow, Parquet), or a row a line (NDJSON, CSV).",
        "content": row_writings.CONTENT,
    },
    **NOT_MODIFIED,
    **problems(JobMissing, QueryInvalid, Rewound, ArchiveSpoilt, ArchiveAway),
}


async def wanted_rows(
    first: Annotated[int | None, Query(alias="from", ge=1, le=LARGEST)] = None,
    last: Annotated[int | None, Query(alias="to", ge=1, le=LARGEST)] = None,
    epoch: Annotated[int | None, Query(ge=1, le=LARGEST_EPOCH)] = None,
    fields: Annotated[str | None, Query(description="`loss,lr`; `iteration` always")] = None,
    cursor: Cursor = None,
) -> IterationsQuery:
    return IterationsQuery(parse_fields(fields), first, last, epoch, cursor)


async def wanted_format(
    request: Request, form: Annotated[Format | None, Query(alias="format")] = None
) -> str:
    return form or preferred_format(request.headers.get("accept", ""))


@router.get(
    "/jobs/{job_id}/iterations",
    operation_id="read_iterations",
    responses=RESPONSES,
    response_class=Response,
)
async def get_iterations(
    *,
    request: Request,
    parts: PartsDependency,
    job_id: JobId,
    query: Annotated[IterationsQuery, Depends(wanted_rows)],
    form: Annotated[str, Depends(wanted_format)],
    limit: Annotated[int | None, Query(ge=1, le=MOST_PAGE_ROWS)] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Read rows: a page of them, or, without `limit`, in all formats but JSON the whole run.

    A number is the same 64 bits everywhere. In texts what is not finite is the string "NaN",
    "Infinity" or "-Infinity", in CSV without quotes. A gradient norm that was not measured is
    null, in CSV empty. A page that is no JSON names the next one in its `Link`.
    """
    edition = Edition([job_id], ["iterations", form, query, limit], if_none_match)
    if form != "json" and limit is None:
        writing = writing_of(form, query.fields)
        return await stream_snapshot(
            parts,
            lambda connection: read_run(connection, job_id, query, parts.archives),
            writing,
            edition,
        )
    async with parts.connections.snapshot() as connection:
        headers = await run_in_threadpool(edition.headers, connection)
        if edition.is_known(headers):
            return Response(status_code=304, headers=headers)
        page = await run_in_threadpool(
            read_page, connection, job_id, query, limit or PAGE_ROWS, parts.archives
        )
    answer = await run_in_threadpool(_page_answer, request, form, page)
    answer.headers.update(headers)
    return answer


def _page_answer(request: Request, form: str, page: IterationsPage) -> Response:
    """Write one page; only JSON has room for a cursor, elsewhere the next page is a link."""
    if form == "json":
        rest = {"total": page.total, "next_cursor": page.next_cursor}
        return Response(row_formats.page_json(page.columns, rest), media_type="application/json")
    writing = writing_of(form, tuple(page.columns))
    headers = {}
    if page.next_cursor is not None:
        url = request.url.include_query_params(cursor=page.next_cursor)
        headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
    body = writing.head + writing.piece(page.columns) + writing.tail()
    return Response(body, media_type=writing.media_type, headers=headers)
