"""Metrics of a trainer's own, drawn as curves."""

from sqlalchemy import Connection, select

from models.tables import metric_values, metrics
from services.curve_cover import CurveSpan, level_for
from services.curve_parts import Parts, in_order
from services.metric_rollups import Stretch, read_stretch
from services.rollups import width_of
from services.series import MetricSeries


def read_metric_parts(
    connection: Connection, series: MetricSeries, span: CurveSpan
) -> tuple[int, Parts]:
    """Read a metric; nothing where the job has none of this name: it may tell one yet.

    Returns:
        How many values a point stands for (1: a value), and what it is joined of; `start` counts
        values.

    """
    stretch = _find(connection, series.name, span)
    if stretch is None:
        return 1, in_order([])
    level = 0
    if stretch.last - stretch.first >= span.points:
        level = level_for(stretch.first, stretch.last, span.points)
    return width_of(level), read_stretch(connection, span.job_key, stretch, level)


def _find(connection: Connection, name: str, span: CurveSpan) -> Stretch | None:
    """Look up which values lie in the span."""
    values = metric_values.c
    mine = (values.job_key == metrics.c.job_key) & (values.metric == metrics.c.number)
    inside = select(values.ordinal).where(mine, values.iteration.between(span.first, span.last))
    found = connection.execute(
        select(
            metrics.c.number,
            inside.order_by(values.iteration).limit(1).scalar_subquery().label("first"),
            inside.order_by(values.iteration.desc()).limit(1).scalar_subquery().label("last"),
        ).where(metrics.c.job_key == span.job_key, metrics.c.name == name)
    ).one_or_none()
    if found is None or found.first is None:
        return None
    return Stretch(found.number, found.first, found.last, span.first, span.last)
