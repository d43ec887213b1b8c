"""Curves: a series of any length as a bounded number of points, extremes kept."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Row,
    Select,
    Uuid,
    bindparam,
    func,
    null,
    select,
)

from models.domain.errors import Breach, JobMissing, QueryInvalid
from models.tables import jobs, progress
from services.aggregates import Aggregates, Floats, grouped
from services.archive import ArchiveFile, Archives
from services.archived_tables import LAYERS, METRICS
from services.curve_cover import CurveSpan, cover, level_for
from services.curve_parts import Wanted, read_parts
from services.epoch_curves import read_epoch_parts
from services.layer_curves import read_layer_parts
from services.metric_curves import read_metric_parts
from services.parts import Parts
from services.rare_values import Rare, read_rare
from services.rollups import SPARSE, width_of
from services.series import (
    EpochSeries,
    IterationSeries,
    LayerSeries,
    MetricSeries,
    Series,
    parse_series,
)

POINTS = 1_000
MOST_JOBS = 200


@dataclass(frozen=True, slots=True)
class CurveQuery:
    """Which series of a job, of which iterations, and how many points at most (2 to 10,000).

    Raises:
        QueryInvalid: `first` lies behind `last`.

    """

    series: str = "loss"
    first: int | None = None
    last: int | None = None
    points: int = POINTS

    def __post_init__(self) -> None:
        if self.first is not None and self.last is not None and self.first > self.last:
            msg = f"from is {self.first}, which lies behind to, {self.last}"
            raise QueryInvalid([Breach(("query", "from"), msg)])


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of a series: buckets in order, each with at least one row.

    Attributes:
        first, last: the iterations that it was drawn for; `last` is at most the newest one.
        bucket: how many iterations (epochs, for a series of epochs; values, for a metric) a point
            stands for; 1: a row.
        parts: of one series.

    """

    job_id: UUID
    series: str
    first: int
    last: int
    bucket: int
    parts: Aggregates

    @property
    def rows(self) -> int:
        """How many rows the points stand for."""
        return int(self.parts.count.sum())

    def mean(self) -> Floats:
        """Return the mean of the finite rows of each point; NaN where there is none."""
        return self.parts.mean()


def read_curve(
    connection: Connection, job_id: UUID, query: CurveQuery, archives: Archives
) -> Curve:
    """Read one curve.

    Args:
        connection: a snapshot, so that all of it is of one moment.
        job_id: the job.
        query: which.
        archives: where the rows of an archived job are.

    Raises:
        JobMissing: there is no such job.
        QueryInvalid: it has no such series.
        ArchiveSpoilt, ArchiveAway: as they say.

    """
    return read_curves(connection, [job_id], query, archives)[0]


def read_curves(
    connection: Connection, job_ids: Sequence[UUID], query: CurveQuery, archives: Archives
) -> list[Curve]:
    """Read the same series of several jobs, in their order.

    Raises:
        JobMissing: one of them does not exist.
        QueryInvalid: one of them has no such series.
        ArchiveSpoilt, ArchiveAway: as they say.

    """
    series = parse_series(query.series)
    books = _open(connection, job_ids, series)
    spans = [_span(book, query) for book in books]
    archived = {book.key: book.id for book in books if book.archived_at is not None}
    match series:
        case IterationSeries():
            with ExitStack() as closing:
                rows = archives.open_several(connection, archived, closing)
                drawn = _draw_iterations(connection, series.column, spans, rows)
        case EpochSeries():
            drawn = read_epoch_parts(connection, series, spans)
        case LayerSeries():
            with ExitStack() as closing:
                readings = archives.open_several_readings(connection, LAYERS, archived, closing)
                drawn = read_layer_parts(connection, series, spans, readings)
        case MetricSeries():
            with ExitStack() as closing:
                readings = archives.open_several_readings(connection, METRICS, archived, closing)
                drawn = read_metric_parts(connection, series, spans, readings)
    return [
        Curve(book.id, query.series, span.first, span.last, bucket, _points(parts, bucket))
        for book, span, (bucket, parts) in zip(books, spans, drawn, strict=True)
    ]


def _open(connection: Connection, job_ids: Sequence[UUID], series: Series) -> list[Row[Any]]:
    opened = _WITH_LAYERS if isinstance(series, LayerSeries) else _BOOKS
    found = connection.execute(opened, {"ids": list(job_ids)})
    books: dict[UUID, Any] = {book.id: book for book in found}
    for job_id in job_ids:
        if job_id not in books:
            raise JobMissing(str(job_id))
    return [books[job_id] for job_id in job_ids]


def _books(layers: ColumnElement[Any]) -> Select[Any]:
    record = jobs.c.spec["record"].label("record")
    return (
        select(jobs.c.id, jobs.c.key, jobs.c.archived_at, progress.c.iteration, record, layers)
        .join(progress, progress.c.job_key == jobs.c.key)
        .where(jobs.c.id == func.any(bindparam("ids", type_=ARRAY(Uuid))))
    )


# Made once, as dashboards ask often; a plan's layers are long, and only theirs is the use.
_BOOKS = _books(null().label("layers"))
_WITH_LAYERS = _books(jobs.c.plan["network", "layers"].label("layers"))


def _span(book: Row[Any], query: CurveQuery) -> CurveSpan:
    newest = book.iteration
    last = newest if query.last is None else min(query.last, newest)
    return CurveSpan(
        job_key=book.key,
        first=query.first or 1,
        last=last,
        points=query.points,
        record=book.record or {},
        layers={layer["name"]: layer.get("parameters", 1) for layer in book.layers or []},
    )


def _draw_iterations(
    connection: Connection,
    column: str,
    spans: Sequence[CurveSpan],
    files: Mapping[int, ArchiveFile],
) -> list[tuple[int, Parts]]:
    levels = [
        0 if span.rows <= span.points else level_for(span.first, span.last, span.points)
        for span in spans
    ]
    wanted = [
        Wanted(span.job_key, cover(span.first, span.last, level), files.get(span.job_key))
        for span, level in zip(spans, levels, strict=True)
    ]
    drawn = [
        (width_of(level), parts)
        for level, parts in zip(levels, read_parts(connection, column, wanted), strict=True)
    ]
    if column != SPARSE:
        return drawn
    few = [
        place
        for place, (span, (bucket, parts)) in enumerate(zip(spans, drawn, strict=True))
        if bucket > 1 and parts.parts.count.sum() <= span.points
    ]
    rare = [
        Rare(spans[place], _rhythm(spans[place]), wanted[place], drawn[place][1]) for place in few
    ]
    for place, values in zip(few, read_rare(connection, column, rare), strict=True):
        drawn[place] = (1, values)
    return drawn


def _rhythm(span: CurveSpan) -> int:
    return int(span.record.get("grad_norm_every") or 0)


def _points(parts: Parts, bucket: int) -> Aggregates:
    """Join what lies in the same bucket, and leave out buckets that hold nothing."""
    if not len(parts.start):
        return parts.parts
    bucket_of = (parts.start - 1) // bucket
    starts = np.flatnonzero(np.diff(bucket_of, prepend=bucket_of[0] - 1))
    points = grouped(parts.parts, starts)
    return points.part(points.count > 0)
