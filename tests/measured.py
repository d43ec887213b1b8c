"""Metrics for tests: values as a trainer tells them, and what the book has of them."""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from models.domain.metrics import MetricKind
from models.metrics import MetricValues
from models.tables import metric_values, metrics
from worker.backlog import MetricBacklog

Told = tuple[int, Mapping[str, float], MetricKind]
"""An iteration, values by name, and what they are of."""


def block_of(*told: Told) -> list[MetricValues]:
    """What the sink sends of these; nothing where there is nothing."""
    backlog = MetricBacklog()
    for iteration, values, kind in told:
        backlog.add(iteration, values, kind)
    taken = backlog.take(2**62)
    return [] if taken is None else [taken]


def iteration_metrics(first: int, last: int) -> Iterator[Told]:
    """One of every iteration, and one of each third."""
    for iteration in range(first, last + 1):
        values = {"a/each": 1 / iteration}
        if iteration % 3 == 0:
            values["a.third"] = float(iteration)
        yield iteration, values, MetricKind.ITERATION


def booked_metrics(connection: Connection, key: int) -> dict[str, RowMapping]:
    found = connection.execute(
        select(metrics).where(metrics.c.job_key == key).order_by(metrics.c.number)
    )
    return {row["name"]: row for row in found.mappings()}


def booked_values(connection: Connection, key: int) -> dict[str, list[tuple[Any, ...]]]:
    """By name: (ordinal, iteration, value), in order."""
    values: dict[str, list[tuple[Any, ...]]] = {}
    for name, ordinal, iteration, value in connection.execute(
        select(
            metrics.c.name,
            metric_values.c.ordinal,
            metric_values.c.iteration,
            metric_values.c.value,
        )
        .join_from(
            metric_values,
            metrics,
            (metrics.c.job_key == metric_values.c.job_key)
            & (metrics.c.number == metric_values.c.metric),
        )
        .where(metric_values.c.job_key == key)
        .order_by(metric_values.c.metric, metric_values.c.iteration)
    ):
        values.setdefault(name, []).append((ordinal, iteration, value))
    return values
