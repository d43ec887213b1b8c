"""A series of any length as a bounded number of points."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query, Response

from api.dependencies import ArchivesDependency, PartsDependency
from api.documents import problems
from api.parameters import LARGEST, JobId
from api.row_formats import column_json
from models.domain.errors import ArchiveAway, ArchiveSpoilt, JobMissing, QueryInvalid
from models.schemas.curves import CurveAnswer, CurvesAnswer
from services.curve_cover import FEWEST_POINTS, MOST_POINTS
from services.curves import MOST_JOBS, POINTS, Curve, CurveQuery, read_curve, read_curves
from services.packed import Series

router = APIRouter(prefix="/v1", tags=["book"])

LONGEST_NAME = 300


async def wanted_curve(
    series: Annotated[
        str,
        Query(
            max_length=LONGEST_NAME,
            description="`loss`, `lr`, `grad_norm`, `seconds`, `epoch.train_loss` …, "
            "`layers.conv1.error_norm` …, `metrics.<name>`",
        ),
    ] = "loss",
    first: Annotated[int | None, Query(alias="from", ge=1, le=LARGEST)] = None,
    last: Annotated[int | None, Query(alias="to", ge=1, le=LARGEST)] = None,
    points: Annotated[int, Query(ge=FEWEST_POINTS, le=MOST_POINTS)] = POINTS,
) -> CurveQuery:
    return CurveQuery(series, first, last, points)


Wanted = Annotated[CurveQuery, Depends(wanted_curve)]


def _answer(model: type[Any]) -> dict[int | str, dict[str, Any]]:
    return {200: {"model": model}, **problems(JobMissing, QueryInvalid, ArchiveSpoilt, ArchiveAway)}


@router.get(
    "/jobs/{job_id}/curve",
    operation_id="read_curve",
    responses=_answer(CurveAnswer),
    response_class=Response,
)
async def get_curve(
    parts: PartsDependency, archives: ArchivesDependency, job_id: JobId, query: Wanted
) -> Response:
    """Read a curve: buckets of iterations, each with its smallest, mean and largest value.

    `bucket` says how many iterations (for `epoch.…` epochs, for `metrics.…` values) a point stands
    for, `rows` how many rows all of them do. Where there are no more rows than `points`, `bucket`
    is 1: the rows.
    """
    return _json(
        await parts.connections.read(
            lambda connection: _text(read_curve(connection, job_id, query, archives))
        )
    )


@router.get(
    "/curves",
    operation_id="read_curves",
    responses=_answer(CurvesAnswer),
    response_class=Response,
)
async def get_curves(
    parts: PartsDependency,
    archives: ArchivesDependency,
    job: Annotated[list[UUID], Query(min_length=1, max_length=MOST_JOBS)],
    query: Wanted,
) -> Response:
    """Read the same series of up to 200 jobs, in the order in which they are named."""
    jobs = list(dict.fromkeys(job))
    return _json(
        await parts.connections.read(
            lambda connection: _together(read_curves(connection, jobs, query, archives))
        )
    )


def _together(curves: Sequence[Curve]) -> bytes:
    return b'{"items":[' + b",".join(map(_text, curves)) + b"]}"


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


def _text(curve: Curve) -> bytes:
    parts = curve.parts
    nothing = parts.without_finite
    head = {
        "job": str(curve.job_id),
        "series": curve.series,
        "from": curve.first,
        "to": curve.last,
        "bucket": curve.bucket,
        "rows": curve.rows,
    }
    columns: Sequence[tuple[str, Series]] = (
        ("iteration", Series(parts.first)),
        ("count", Series(parts.count)),
        ("non_finite", Series(parts.non_finite)),
        ("min", Series(parts.min, nothing)),
        ("mean", Series(curve.mean(), nothing)),
        ("max", Series(parts.max, nothing)),
    )
    inner = b"".join(
        b"," + orjson.dumps(name) + b":" + column_json(column) for name, column in columns
    )
    return orjson.dumps(head)[:-1] + inner + b"}"
