"""Metrics of the trainer's own: each value once, where it belongs, and what they come to."""

import math
from collections.abc import Iterator
from typing import Any

from sqlalchemy import RowMapping

from models.domain.metrics import MetricKind
from tests.chaos.book import Book

TOP5_FROM_CLASSES = 11


def broken_metrics(book: Book) -> Iterator[str]:
    """Say what of the metrics does not agree with their values, the rows or the epochs."""
    for metric in book.metrics:
        told = book.values_of(metric)
        yield from _places(book, metric, [(row.ordinal, row.iteration) for row in told])
        yield from _facts(metric, [row.value for row in told])
    known = {metric["number"] for metric in book.metrics}
    if strangers := {row.metric for row in book.metric_values} - known:
        yield f"there are values of the metrics {sorted(strangers)}, which have no name"
    yield from _best_five(book)


def _places(book: Book, metric: RowMapping, told: list[tuple[int, int]]) -> Iterator[str]:
    name, k = metric["name"], book.progress.iteration
    if [ordinal for ordinal, _ in told] != list(range(1, len(told) + 1)):
        yield f"the values of metric {name} are not numbered from 1 to {len(told)}"
    iterations = [iteration for _, iteration in told]
    if iterations and not 1 <= iterations[0] <= iterations[-1] <= k:
        yield f"metric {name} goes from {iterations[0]} to {iterations[-1]}, the book to {k}"
    if iterations and metric["last_iteration"] != iterations[-1]:
        yield f"metric {name} ends at {metric['last_iteration']}, its values at {iterations[-1]}"
    if metric["kind"] == MetricKind.EPOCH:
        # That of an epoch may be booked one flush before it.
        strange = set(iterations) - {row.last_iteration for row in book.epochs} - {k}
        if strange:
            yield f"metric {name} has values at {sorted(strange)}, where no epoch ends"


def _facts(metric: RowMapping, values: list[float]) -> Iterator[str]:
    finite = [value for value in values if math.isfinite(value)]
    facts: dict[str, Any] = {
        "count": len(values),
        "non_finite": len(values) - len(finite),
        "min": min(finite, default=None),
        "max": max(finite, default=None),
        "last": values[-1] if values else None,
    }
    for name, value in facts.items():
        # By their text: NaN is itself there.
        if repr(metric[name]) != repr(value):
            yield f"metric {metric['name']} has {name} {metric[name]}, its values give {value}"


def _best_five(book: Book) -> Iterator[str]:
    """Hold our own trainer to what it tells, above ten classes, of every epoch it evaluates."""
    if book.job.spec["dataset"].get("classes", 0) < TOP5_FROM_CLASSES:
        return
    told = {
        (metric["name"], row.iteration) for metric in book.metrics for row in book.values_of(metric)
    }
    for split in ("val", "test"):
        for epoch in book.epochs:
            due = getattr(epoch, f"{split}_accuracy") is not None
            if due != ((f"{split}_top5_accuracy", epoch.last_iteration) in told):
                is_told = "is not" if due else "is"
                yield f"{split}_top5_accuracy of epoch {epoch.epoch} {is_told} told"
