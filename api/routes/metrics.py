"""Metrics of a trainer's own: what each has come to, and its values."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from api import row_formats
from api.dependencies import PartsDependency, SnapshotDependency
from api.documents import problems
from api.negotiation import preferred_format
from api.parameters import LARGEST, Cursor, JobId
from api.streaming import Writing, stream_snapshot
from models.domain.errors import CursorInvalid, JobMissing, MetricMissing, QueryInvalid, Rewound
from models.schemas.readings import MetricList, MetricPage
from services.metrics import (
    COLUMNS,
    MOST_PAGE_ROWS,
    PAGE_ROWS,
    Lines,
    ValuesQuery,
    list_metrics,
    read_all_values,
    read_values,
)

router = APIRouter(prefix="/v1/jobs/{job_id}/metrics", tags=["book"])

RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": MetricPage,
        "description": "Columns of one metric's values (JSON), or a value a line (NDJSON, CSV).",
        "content": {"application/x-ndjson": {}, "text/csv": {}},
    },
    **problems(JobMissing, MetricMissing, QueryInvalid, CursorInvalid, Rewound),
}
_WRITINGS: dict[str, Writing[Lines]] = {
    "ndjson": Writing(row_formats.ndjson, "application/x-ndjson"),
    "csv": Writing(row_formats.csv, "text/csv; header=present", row_formats.csv_header(COLUMNS)),
}


def wanted_values(
    name: Annotated[str | None, Query(max_length=100)] = None,
    first: Annotated[int, Query(alias="from", ge=1, le=LARGEST)] = 1,
    last: Annotated[int, Query(alias="to", ge=1, le=LARGEST)] = LARGEST,
    cursor: Cursor = None,
) -> ValuesQuery:
    return ValuesQuery(name, first, last, cursor)


def wanted_format(
    request: Request,
    form: Annotated[Literal["json", "ndjson", "csv"] | None, Query(alias="format")] = None,
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
    parts: PartsDependency,
    job_id: JobId,
    query: Annotated[ValuesQuery, Depends(wanted_values)],
    form: Annotated[str, Depends(wanted_format)],
    limit: Annotated[int | None, Query(ge=1, le=MOST_PAGE_ROWS)] = None,
) -> Response:
    """Read a page of a metric's values or, as NDJSON or CSV, all values of it or of all metrics.

    A number is the shortest text that reads back as the same 64 bits; what is not finite is the
    string "NaN", "Infinity" or "-Infinity", in CSV without quotes. `limit` is a page's.
    """
    writing = _WRITINGS.get(form)
    if writing is not None:
        return await stream_snapshot(
            parts, lambda connection: read_all_values(connection, job_id, query), writing
        )
    async with parts.connections.snapshot() as connection:
        page = await run_in_threadpool(read_values, connection, job_id, query, limit or PAGE_ROWS)
    rest = {"metric": page.name, "total": page.total, "next_cursor": page.next_cursor}
    body = await run_in_threadpool(row_formats.page_json, page.columns, rest)
    return Response(body, media_type="application/json")
