"""The rows of a job, one a weight update."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from api import row_formats
from api.dependencies import PartsDependency
from api.documents import problems
from api.negotiation import preferred_format
from api.parameters import LARGEST, LARGEST_EPOCH, Cursor, JobId
from api.streaming import Writing, stream_snapshot
from models.domain.errors import JobMissing, NotBuilt, QueryInvalid, Rewound
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
from services.packed import Columns

router = APIRouter(prefix="/v1", tags=["book"])

Format = Literal["json", "ndjson", "csv", "arrow", "parquet"]

RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": IterationPage,
        "description": "Columns of rows (JSON), or a row a line (NDJSON, CSV).",
        "content": {"application/x-ndjson": {}, "text/csv": {}},
    },
    **problems(JobMissing, QueryInvalid, Rewound, NotBuilt),
}


def wanted_rows(
    first: Annotated[int | None, Query(alias="from", ge=1, le=LARGEST)] = None,
    last: Annotated[int | None, Query(alias="to", ge=1, le=LARGEST)] = None,
    epoch: Annotated[int | None, Query(ge=1, le=LARGEST_EPOCH)] = None,
    fields: Annotated[str | None, Query(description="`loss,lr`; `iteration` always")] = None,
    cursor: Cursor = None,
) -> IterationsQuery:
    return IterationsQuery(parse_fields(fields), first, last, epoch, cursor)


def wanted_format(
    request: Request, form: Annotated[Format | None, Query(alias="format")] = None
) -> str:
    wanted = form or preferred_format(request.headers.get("accept", ""))
    if wanted in {"arrow", "parquet"}:
        raise NotBuilt(f"the format {wanted}")
    return wanted


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
) -> Response:
    """Read rows: a page of them, or, without `limit`, as NDJSON or CSV the whole run.

    A number is the shortest text that reads back as the same 64 bits. What is not finite is
    the string "NaN", "Infinity" or "-Infinity", in CSV without quotes; a gradient norm that
    was not measured is null, in CSV empty. A page of lines names the next one in its `Link`.
    """
    if form != "json" and limit is None:
        return await stream_snapshot(
            parts.streams,
            lambda connection: read_run(connection, job_id, query),
            _writing(form, query.fields),
            parts.leaving,
        )
    async with parts.connections.snapshot() as connection:
        page = await run_in_threadpool(read_page, connection, job_id, query, limit or PAGE_ROWS)
    return await run_in_threadpool(_page_answer, request, form, page)


def _writing(form: str, fields: Sequence[str]) -> Writing[Columns]:
    if form == "csv":
        head = row_formats.csv_header(fields)
        return Writing(row_formats.csv, "text/csv; header=present", head)
    return Writing(row_formats.ndjson, "application/x-ndjson")


def _page_answer(request: Request, form: str, page: IterationsPage) -> Response:
    """Write one page; lines have no room for a cursor, so there the next page is a link."""
    if form == "json":
        rest = {"total": page.total, "next_cursor": page.next_cursor}
        return Response(row_formats.page_json(page.columns, rest), media_type="application/json")
    writing = _writing(form, tuple(page.columns))
    headers = {}
    if page.next_cursor is not None:
        url = request.url.include_query_params(cursor=page.next_cursor)
        headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
    body = writing.head + writing.piece(page.columns)
    return Response(body, media_type=writing.media_type, headers=headers)
