"""Metrics of a trainer's own, drawn as curves."""

from collections.abc import Sequence

import numpy as np
from sqlalchemy import Connection, text

from services.curve_cover import CurveSpan, level_for
from services.curve_parts import Parts, points_of
from services.metric_stretches import Stretch, read_stretches
from services.rollups import width_of
from services.series import MetricSeries


def read_metric_parts(
    connection: Connection, series: MetricSeries, spans: Sequence[CurveSpan]
) -> list[tuple[int, Parts]]:
    """Read a metric of several jobs; nothing of one that has none of this name: it may yet.

    Returns:
        How many values a point stands for (1: a value), and what it is joined of; `start` counts
        values.

    """
    stretches = _find(connection, series.name, spans)
    found = dict(zip(stretches, read_stretches(connection, list(stretches.values())), strict=True))
    nothing = points_of(np.empty(0, np.int64), np.empty(0))
    return [
        (width_of(stretches[place].level), found[place]) if place in found else (1, nothing)
        for place in range(len(spans))
    ]


# LIMIT keeps the planner to the index: without it, statistics that are old may mislead it.
_FIND = text("""
    SELECT wanted.place, metric.number, newest.ordinal AS last, oldest.ordinal AS first
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


def _find(connection: Connection, name: str, spans: Sequence[CurveSpan]) -> dict[int, Stretch]:
    """Look up which values lie in the spans; by the span's place."""
    parameters = {
        "jobs": [span.job_key for span in spans],
        "firsts": [span.first for span in spans],
        "lasts": [span.last for span in spans],
        "name": name,
    }
    found = {}
    for row in connection.execute(_FIND, parameters):
        span = spans[row.place - 1]
        few = row.last - row.first < span.points
        level = 0 if few else level_for(row.first, row.last, span.points)
        found[row.place - 1] = Stretch(
            span.job_key, row.number, row.first, row.last, span.first, span.last, level
        )
    return found
