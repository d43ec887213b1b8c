"""Writing metrics: values that a flush brings, and those that a rewind takes back.

What a metric has come to (count, last, min, max) stands in one row, which each flush that has a
value of it updates: jobs are shown and filtered by it without a look at the values.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, case, func, select, text

from models.domain.metrics import MOST_METRICS, Metric, MetricKind, MetricsBroken, check_name
from models.metrics import MetricValues
from models.tables import epochs, metrics
from services.copying import copy_metric_values

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(slots=True)
class _Series:
    """What a metric has come to; `min` and `max` over its finite values."""

    number: int
    name: str
    kind: str
    count: int = 0
    non_finite: int = 0
    last: float = 0.0
    min: float | None = None
    max: float | None = None
    last_iteration: int = 0

    def add(self, iterations: Ints, values: Floats) -> None:
        """Count values that follow those before.

        Raises:
            MetricsBroken: one does not: it has the iteration of another, or an earlier one.

        """
        behind = np.flatnonzero(np.diff(iterations, prepend=self.last_iteration) <= 0)
        if len(behind):
            again = int(iterations[behind[0]])
            raise MetricsBroken(f"metric {self.name}: iteration {again} comes after its next")
        finite = values[np.isfinite(values)]
        if len(finite):
            low, high = float(finite.min()), float(finite.max())
            self.min = low if self.min is None else min(self.min, low)
            self.max = high if self.max is None else max(self.max, high)
        self.count += len(values)
        self.non_finite += len(values) - len(finite)
        self.last, self.last_iteration = float(values[-1]), int(iterations[-1])


def write_metrics(
    connection: Connection, job_key: int, reached: int, told: Sequence[MetricValues]
) -> None:
    """Write values, whose iterations' rows stand in the book by now, and what they come to.

    Args:
        connection: the flush's transaction, which holds the job's progress.
        job_key: the job.
        reached: the iteration up to which the book has rows.
        told: in the order in which they were told.

    Raises:
        MetricsBroken: a value comes before its row or after a later one of its metric; a name is
            none, or is of another kind in the book; there are too many.

    """
    if not any(map(len, told)):
        return
    known = _read(connection, job_key)
    changed: list[_Series] = []
    pieces: list[dict[str, npt.NDArray[Any]]] = []
    for metric, iterations, values in _by_metric(told):
        series = _find(known, metric)
        ordinals = np.arange(series.count + 1, series.count + 1 + len(values))
        series.add(iterations, values)
        if series.last_iteration > reached:
            at = f"iteration {series.last_iteration}, the book ends at {reached}"
            raise MetricsBroken(f"metric {series.name} at {at}")
        numbers = np.full(len(values), series.number)
        pieces.append(
            {"metric": numbers, "iteration": iterations, "ordinal": ordinals, "value": values}
        )
        changed.append(series)
    copied = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    copy_metric_values(connection, job_key, copied)
    names = ("number", "name", "kind", "count", "non_finite", "last", "min", "max")
    columns = {
        name: [getattr(series, name) for series in changed] for name in (*names, "last_iteration")
    }
    connection.execute(_STORE, {"job_key": job_key, **columns})


def metrics_beyond(
    connection: Connection, job_key: int, to_iteration: int, to_epochs: int
) -> dict[int, int]:
    """Look up which metrics have values that the book, taken back to there, has no place for.

    A metric of epochs stands where its epoch does: at an iteration that stays, it goes with an
    epoch that is measured and booked anew.

    Returns:
        Their numbers, and the last iteration of which each keeps its value.

    """
    ends = (
        select(func.coalesce(func.max(epochs.c.last_iteration), 0))
        .where(epochs.c.job_key == job_key, epochs.c.epoch <= to_epochs)
        .scalar_subquery()
    )
    is_of_epochs = metrics.c.kind == MetricKind.EPOCH
    bound = case((is_of_epochs, func.least(ends, to_iteration)), else_=to_iteration)
    found = connection.execute(
        select(metrics.c.number, bound.label("bound")).where(
            metrics.c.job_key == job_key, metrics.c.last_iteration > bound
        )
    )
    return {row.number: row.bound for row in found}


def take_back(connection: Connection, job_key: int, beyond: Mapping[int, int]) -> None:
    """Remove the values after these iterations of these metrics; a metric without any goes."""
    if not beyond:
        return
    numbers = {"job_key": job_key, "numbers": list(beyond)}
    connection.execute(_FORGET, {**numbers, "bounds": list(beyond.values())})
    connection.execute(_FORGET_EMPTY, numbers)
    connection.execute(_COUNT_AGAIN, numbers)


_STORE = text("""
    INSERT INTO metrics (job_key, number, name, kind, count, non_finite, last, min, max,
        last_iteration)
    SELECT :job_key, told.*
    FROM unnest(CAST(:number AS integer[]), CAST(:name AS text[]), CAST(:kind AS text[]),
        CAST(:count AS bigint[]), CAST(:non_finite AS bigint[]),
        CAST(:last AS double precision[]), CAST(:min AS double precision[]),
        CAST(:max AS double precision[]), CAST(:last_iteration AS bigint[])) AS told
    ON CONFLICT (job_key, number) DO UPDATE SET
        count = excluded.count, non_finite = excluded.non_finite, last = excluded.last,
        min = excluded.min, max = excluded.max, last_iteration = excluded.last_iteration
""")
_FORGET = text("""
    DELETE FROM metric_values
    USING unnest(CAST(:numbers AS integer[]), CAST(:bounds AS bigint[])) AS kept (number, bound)
    WHERE job_key = :job_key AND metric = kept.number AND iteration > kept.bound
""")
_FORGET_EMPTY = text("""
    DELETE FROM metrics
    WHERE job_key = :job_key AND number = ANY(CAST(:numbers AS integer[])) AND NOT EXISTS (
        SELECT FROM metric_values
        WHERE metric_values.job_key = metrics.job_key AND metric_values.metric = metrics.number
    )
""")
_COUNT_AGAIN = text("""
    UPDATE metrics
    SET (count, non_finite, min, max, last_iteration) = (
            SELECT count(*), count(*) FILTER (WHERE NOT finite), min(value) FILTER (WHERE finite),
                max(value) FILTER (WHERE finite), max(iteration)
            FROM (
                SELECT iteration, value, value > '-Infinity' AND value < 'Infinity' AS finite
                FROM metric_values AS kept
                WHERE kept.job_key = metrics.job_key AND kept.metric = metrics.number
            ) AS kept
        ),
        last = (
            SELECT value FROM metric_values AS kept
            WHERE kept.job_key = metrics.job_key AND kept.metric = metrics.number
            ORDER BY iteration DESC LIMIT 1
        )
    WHERE job_key = :job_key AND number = ANY(CAST(:numbers AS integer[]))
""")


def _read(connection: Connection, job_key: int) -> dict[str, _Series]:
    columns = [column for column in metrics.c if column.name != "job_key"]
    found = connection.execute(select(*columns).where(metrics.c.job_key == job_key))
    return {row["name"]: _Series(**row) for row in found.mappings()}


def _find(known: dict[str, _Series], metric: Metric) -> _Series:
    found = known.get(metric.name)
    if found is None:
        check_name(metric.name)
        if len(known) == MOST_METRICS:
            raise MetricsBroken(f"metric {metric.name}: a job has at most {MOST_METRICS}")
        number = max((series.number for series in known.values()), default=0) + 1
        found = known[metric.name] = _Series(number, metric.name, metric.kind)
    elif found.kind != metric.kind:
        raise MetricsBroken(
            f"metric {metric.name} is one of an {found.kind}, not of an {metric.kind}"
        )
    return found


def _by_metric(told: Sequence[MetricValues]) -> Iterator[tuple[Metric, Ints, Floats]]:
    """Sort values into series, each in the order in which it was told."""
    places: dict[str, int] = {}
    met: list[Metric] = []
    numbers: list[npt.NDArray[np.intp]] = []
    for block in told:
        for metric in block.metrics:
            if metric.name not in places:
                places[metric.name] = len(met)
                met.append(metric)
        place = np.array([places[metric.name] for metric in block.metrics], np.intp)
        numbers.append(place[block.values["metric"]])
    number = np.concatenate(numbers)
    values = np.concatenate([block.values for block in told])
    order = np.argsort(number, kind="stable")
    number, values = number[order], values[order]
    ends = np.searchsorted(number, np.arange(len(met)), side="right")
    for metric, start, end in zip(met, [0, *ends[:-1]], ends, strict=True):
        if end > start:
            yield (
                metric,
                values["iteration"][start:end].astype(np.int64),
                values["value"][start:end].astype(np.float64),
            )
