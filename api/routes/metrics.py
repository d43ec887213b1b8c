"""Metrics of a trainer's own: what each has come to, and its values."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from api import row_formats, row_writings
from api.dependencies import PartsDependency, SnapshotDependency
from api.documents import problems
from api.editions import NOT_MODIFIED, Edition, IfNoneMatch
from api.negotiation import preferred_format
from api.parameters import LARGEST, Cursor, JobId
from api.row_writings import writing_of
from api.streaming import stream_snapshot
from models.domain.errors import (
    ArchiveAway,
    ArchiveSpoilt,
    CursorInvalid,
    JobMissing,
    MetricMissing,
    QueryInvalid,
    Rewound,
)
from models.schemas.readings import MetricList, MetricPage
from services.metrics import (
    COLUMNS,
    MOST_PAGE_ROWS,
    PAGE_ROWS,
    ValuesPage,
    ValuesQuery,
    list_metrics,
    read_all_values,
    read_values,
)

router = APIRouter(prefix="/v1/jobs/{job_id}/metrics", tags=["book"])

RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": MetricPage,
        "description": "Columns of values (JSON, Arrow, Parquet), or a value a line (NDJSON, CSV).",
        "content": row_writings.CONTENT,
    },
    **NOT_MODIFIED,
    **problems(
        JobMissing,
        MetricMissing,
        QueryInvalid,
        CursorInvalid,
        Rewound,
        ArchiveSpoilt,
        ArchiveAway,
    ),
}
Format = Literal["json", "ndjson", "csv", "arrow", "parquet"]


async def wanted_values(
    name: Annotated[str | None, Query(max_length=100)] = None,
    first: Annotated[int, Query(alias="from", ge=1, le=LARGEST)] = 1,
    last: Annotated[int, Query(alias="to", ge=1, le=LARGEST)] = LARGEST,
    cursor: Cursor = None,
) -> ValuesQuery:
    return ValuesQuery(name, first, last, cursor)


async def wanted_format(
    request: Request, form: Annotated[Format | None, Query(alias="format")] = None
) -> str:
    return form or preferred_format(request.headers.get("accept", ""))


@router.get("", operation_id="list_metrics", responses=problems(JobMissing))
def get_metrics(connection: SnapshotDependency, job_id: JobId) -> MetricList:
    """Read what metrics the job's trainer has reported, all of them, and what they came to."""
    return list_metrics(connection, job_id)


@router.get(
    "/values", operation_id="read_metric_values", responses=RESPONSES, response_class=Response
)
async def get_values(
    *,
    request: Request,
    parts: PartsDependency,
    job_id: JobId,
    query: Annotated[ValuesQuery, Depends(wanted_values)],
    form: Annotated[str, Depends(wanted_format)],
    limit: Annotated[int | None, Query(ge=1, le=MOST_PAGE_ROWS)] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Read a page of a metric's values; without `limit`, in all formats but JSON, all values.

    Without `name` those are the values of every metric, metric by metric. A number is the same
    64 bits everywhere; in texts what is not finite is the string "NaN", "Infinity" or
    "-Infinity", in CSV without quotes. A page that is no JSON names the next one in its `Link`.
    """
    edition = Edition([job_id], ["metrics", form, query, limit], if_none_match)
    if form != "json" and limit is None:
        writing = writing_of(form, COLUMNS)
        return await stream_snapshot(
            parts,
            lambda connection: read_all_values(connection, job_id, query, parts.archives),
            writing,
            edition,
        )
    async with parts.connections.snapshot() as connection:
        headers = await run_in_threadpool(edition.headers, connection)
        if edition.is_known(headers):
            return Response(status_code=304, headers=headers)
        page = await run_in_threadpool(
            read_values, connection, job_id, query, limit or PAGE_ROWS, parts.archives
        )
    answer = await run_in_threadpool(_page_answer, request, form, page)
    answer.headers.update(headers)
    return answer


def _page_answer(request: Request, form: str, page: ValuesPage) -> Response:
    if form == "json":
        rest = {"metric": page.name, "total": page.total, "next_cursor": page.next_cursor}
        return Response(row_formats.page_json(page.columns, rest), media_type="application/json")
    writing = writing_of(form, COLUMNS)
    headers = {}
    if page.next_cursor is not None:
        url = request.url.include_query_params(cursor=page.next_cursor)
        headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
    body = writing.head + writing.piece(page.lines) + writing.tail()
    return Response(body, media_type=writing.media_type, headers=headers)
