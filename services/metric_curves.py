"""Metrics of a trainer's own, drawn as curves."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection, select, text

from models.tables import metrics
from services.curve_cover import CurveSpan, level_for
from services.metric_stretches import Stretch, read_stretches
from services.packed import Span
from services.parts import Parts, points_of
from services.readings_file import ReadingsFile
from services.rollups import width_of
from services.series import MetricSeries


def read_metric_parts(
    connection: Connection,
    series: MetricSeries,
    spans: Sequence[CurveSpan],
    archives: Mapping[int, ReadingsFile],
) -> list[tuple[int, Parts]]:
    """Read a metric of several jobs; nothing of one that has none of this name: it may yet.

    Args:
        connection: a snapshot.
        series: which.
        spans: of which iterations of which jobs.
        archives: by the job's key, where its values are in a file.

    Returns:
        How many values a point stands for (1: a value), and what it is joined of; `start` counts
        values.

    """
    stretches = {
        each.place: _stretch(spans[each.place], each)
        for each in (
            *_find(connection, series.name, spans),
            *_find_archived(connection, series.name, spans, archives),
        )
    }
    wanted = list(stretches.values())
    found = dict(zip(stretches, read_stretches(connection, wanted, archives), strict=True))
    nothing = points_of(np.empty(0, np.int64), np.empty(0))
    return [
        (width_of(stretches[place].level), found[place]) if place in found else (1, nothing)
        for place in range(len(spans))
    ]


class _Found(NamedTuple):
    """Values `first` to `last` of the metric of this number lie in the span at this place."""

    place: int
    number: int
    first: int
    last: int


# LIMIT keeps the planner to the index: without it, statistics that are old may mislead it.
_FIND = text("""
    SELECT wanted.place - 1, metric.number, oldest.ordinal, newest.ordinal
    FROM unnest(CAST(:jobs AS bigint[]), CAST(:firsts AS bigint[]), CAST(:lasts AS bigint[]))
        WITH ORDINALITY AS wanted (job, first, last, place),
    LATERAL (
        SELECT number FROM metrics WHERE job_key = wanted.job AND name = :name LIMIT 1
    ) AS metric,
    LATERAL (
        SELECT ordinal FROM metric_values
        WHERE job_key = wanted.job AND metric = metric.number
            AND iteration BETWEEN wanted.first AND wanted.last
        ORDER BY iteration LIMIT 1
    ) AS oldest,
    LATERAL (
        SELECT ordinal FROM metric_values
        WHERE job_key = wanted.job AND metric = metric.number
            AND iteration BETWEEN wanted.first AND wanted.last
        ORDER BY iteration DESC LIMIT 1
    ) AS newest
""")


def _find(connection: Connection, name: str, spans: Sequence[CurveSpan]) -> list[_Found]:
    """Look up which values in the table lie in the spans."""
    parameters = {
        "jobs": [span.job_key for span in spans],
        "firsts": [span.first for span in spans],
        "lasts": [span.last for span in spans],
        "name": name,
    }
    return [_Found(*row) for row in connection.execute(_FIND, parameters)]


def _find_archived(
    connection: Connection,
    name: str,
    spans: Sequence[CurveSpan],
    archives: Mapping[int, ReadingsFile],
) -> Iterator[_Found]:
    """Look up the same in files, whose word is the last: a table's rows may be half removed."""
    if not archives:
        return
    numbers = select(metrics.c.job_key, metrics.c.number).where(
        metrics.c.job_key.in_(list(archives)), metrics.c.name == name
    )
    known = {row.job_key: row.number for row in connection.execute(numbers)}
    for place, each in enumerate(spans):
        number = known.get(each.job_key)
        if number is None:
            continue
        span = Span(each.job_key, each.first, each.last, metric=number)
        ends = [
            read(("ordinal",), span, 1)["ordinal"].values
            for read in (archives[each.job_key].read, archives[each.job_key].newest)
        ]
        if len(ends[0]):
            yield _Found(place, number, int(ends[0][0]), int(ends[1][0]))


def _stretch(span: CurveSpan, found: _Found) -> Stretch:
    few = found.last - found.first < span.points
    level = 0 if few else level_for(found.first, found.last, span.points)
    return Stretch(
        span.job_key, found.number, found.first, found.last, span.first, span.last, level
    )
