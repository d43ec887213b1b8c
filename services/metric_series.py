"""Writing metrics: values that a flush brings, and those that a rewind takes back.

What a metric has come to (count, last, min, max) stands in one row, which each flush that has a
value of it updates: jobs are shown and filtered by it without a look at the values.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, Row, case, delete, func, select, text

from models.domain.metrics import MOST_METRICS, Metric, MetricKind, MetricsBroken, check_name
from models.metrics import MetricValues
from models.tables import attempts, epochs, metric_values, metrics, progress
from services.aggregates import Floats, Ints
from services.copying import copy_metric_values
from services.metric_rollups import Grown, rewind_metric_rollups, write_metric_rollups
from services.metric_stretches import Stretch, read_stretches
from services.rollups import TOP_LEVEL


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

    An attempt that goes on at an iteration may tell of it what the one before it has told, after
    the checkpoint: once more, so the book keeps what it has.

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
    grown: list[Grown] = []
    for metric, iterations, values in _by_metric(told):
        series = _find(known, metric)
        again = int(_is_told_again(connection, job_key, series, int(iterations[0])))
        if again == len(values):
            continue
        grown.append(Grown(series.number, series.count, iterations[again:], values[again:]))
        series.add(iterations[again:], values[again:])
        if series.last_iteration > reached:
            at = f"iteration {series.last_iteration}, the book ends at {reached}"
            raise MetricsBroken(f"metric {series.name} at {at}")
        changed.append(series)
    if not changed:
        return
    _copy(connection, job_key, grown)
    write_metric_rollups(connection, job_key, grown)
    _store(connection, job_key, changed)


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
    """Remove the values after these iterations of these metrics; a metric without any goes.

    What stays is added up from the rollups: it takes no longer for a million values.
    """
    kept = []
    for number, bound in beyond.items():
        newest = _cut(connection, job_key, number, bound)
        rewind_metric_rollups(connection, job_key, number, newest.ordinal if newest else 0)
        if newest:
            kept.append(newest)
    gone = set(beyond) - {newest.metric for newest in kept}
    connection.execute(
        delete(metrics).where(metrics.c.job_key == job_key, metrics.c.number.in_(gone))
    )
    _count_again(connection, job_key, kept)


def _is_told_again(connection: Connection, job_key: int, series: _Series, iteration: int) -> bool:
    """Whether a value is there already, and its attempt goes on where it stands."""
    if series.kind != MetricKind.ITERATION or iteration != series.last_iteration:
        return False
    went_on_at = (
        select(attempts.c.first_iteration - 1)
        .join(progress, progress.c.job_key == attempts.c.job_key)
        .where(attempts.c.job_key == job_key, attempts.c.number == progress.c.attempt)
    )
    return connection.scalar(went_on_at) == iteration


def _cut(connection: Connection, job_key: int, number: int, bound: int) -> Row[Any] | None:
    """Remove a metric's values after an iteration; returns the last one that stays."""
    mine = (metric_values.c.job_key == job_key, metric_values.c.metric == number)
    connection.execute(delete(metric_values).where(*mine, metric_values.c.iteration > bound))
    return connection.execute(
        select(metric_values).where(*mine).order_by(metric_values.c.iteration.desc()).limit(1)
    ).one_or_none()


def _count_again(connection: Connection, job_key: int, newest: Sequence[Row[Any]]) -> None:
    """Say of metrics what they come to, where these are their last values."""
    known = {series.number: series for series in _read(connection, job_key).values()}
    whole = [
        Stretch(job_key, row.metric, 1, row.ordinal, 1, row.iteration, TOP_LEVEL) for row in newest
    ]
    for row, read in zip(newest, read_stretches(connection, whole), strict=True):
        series, parts = known[row.metric], read.parts
        series.count, series.non_finite = row.ordinal, int(parts.non_finite.sum())
        has_finite = series.count > series.non_finite
        series.min = float(parts.min.min()) if has_finite else None
        series.max = float(parts.max.max()) if has_finite else None
        series.last, series.last_iteration = row.value, row.iteration
    _store(connection, job_key, [known[row.metric] for row in newest])


def _store(connection: Connection, job_key: int, changed: Sequence[_Series]) -> None:
    columns = {
        field.name: [getattr(series, field.name) for series in changed] for field in fields(_Series)
    }
    if changed:
        connection.execute(_STORE, {"job_key": job_key, **columns})


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


def _copy(connection: Connection, job_key: int, grown: Sequence[Grown]) -> None:
    columns = {
        "metric": np.repeat([each.number for each in grown], [len(each.values) for each in grown]),
        "iteration": np.concatenate([each.iterations for each in grown]),
        "ordinal": np.concatenate([np.arange(each.before, each.after) + 1 for each in grown]),
        "value": np.concatenate([each.values for each in grown]),
    }
    copy_metric_values(connection, job_key, columns)


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
