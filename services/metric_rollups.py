"""Rollups of metrics: a bucket holds so many of a metric's values, wherever their iterations lie.

A trainer tells a metric when it likes, so buckets of iterations would be empty or crowded. Values
are counted from 1 (`ordinal`), and level L has buckets of 4 * 4^L of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, RowMapping, delete, text

from models.tables import series_rollups
from services.aggregates import Aggregates, Floats, Ints, chained
from services.copying import copy_series_rollups
from services.parts import points_of
from services.rollups import BASE, FACTOR, TOP_LEVEL, Run, beyond, completed, width_of
from services.series import FIRST_METRIC


class Grown(NamedTuple):
    """Values that a metric got, which stand in the book by now; `before` is how many it had."""

    number: int
    before: int
    iterations: Ints
    values: Floats

    @property
    def after(self) -> int:
        return self.before + len(self.values)


def write_metric_rollups(connection: Connection, job_key: int, grown: Sequence[Grown]) -> None:
    """Write the buckets that these values have completed."""
    due = [each for each in grown if each.before // BASE != each.after // BASE]
    if not due:
        return
    opened = _open_values(connection, job_key, due)
    stored = _stored_before(connection, job_key, due)
    pieces = [
        (each.number, level, run)
        for each in due
        for level, run in _levels(_rows_since(each, opened), stored.get(each.number, {}))
    ]
    buckets = [run.parts.buckets for _, _, run in pieces]
    copy_series_rollups(
        connection,
        job_key,
        series=np.repeat([FIRST_METRIC + number for number, _, _ in pieces], buckets),
        level=np.repeat([level for _, level, _ in pieces], buckets),
        bucket=np.concatenate([np.arange(run.first, run.end) for _, _, run in pieces]),
        cells=chained([run.parts for _, _, run in pieces]),
    )


def rewind_metric_rollups(connection: Connection, job_key: int, number: int, count: int) -> None:
    """Take back the buckets that hold more values than the metric has now."""
    connection.execute(
        delete(series_rollups).where(
            series_rollups.c.job_key == job_key,
            series_rollups.c.series == FIRST_METRIC + number,
            beyond(series_rollups, count, BASE),
        )
    )


_OPEN = text("""
    SELECT told.number, found.iteration, found.value
    FROM unnest(CAST(:numbers AS integer[]), CAST(:firsts AS bigint[]), CAST(:counts AS integer[]))
        AS told (number, first, count),
    LATERAL (
        SELECT iteration, value FROM metric_values
        WHERE job_key = :job_key AND metric = told.number AND iteration < told.first
        ORDER BY iteration DESC LIMIT told.count
    ) AS found
    ORDER BY told.number, found.iteration
""")
# LIMIT keeps the planner from anything but one look into the index a range.
_STORED = text("""
    SELECT found.*
    FROM unnest(CAST(:series AS integer[]), CAST(:levels AS smallint[]), CAST(:firsts AS bigint[]),
        CAST(:ends AS bigint[])) AS wanted (series, level, first, "end"),
    LATERAL (
        SELECT * FROM series_rollups
        WHERE job_key = :job_key AND series = wanted.series AND level = wanted.level
            AND bucket >= wanted.first AND bucket < wanted."end"
        ORDER BY bucket LIMIT wanted."end" - wanted.first
    ) AS found
    ORDER BY found.series, found.level, found.bucket
""")


def _open_values(
    connection: Connection, job_key: int, due: Sequence[Grown]
) -> dict[int, tuple[list[int], list[float]]]:
    """By metric: iterations and values of the bucket of level 1 that was not complete."""
    found: dict[int, tuple[list[int], list[float]]] = {each.number: ([], []) for each in due}
    parameters = {
        "job_key": job_key,
        "numbers": [each.number for each in due],
        "firsts": [int(each.iterations[0]) for each in due],
        "counts": [each.before % BASE for each in due],
    }
    for number, iteration, value in connection.execute(_OPEN, parameters):
        iterations, values = found[number]
        iterations.append(iteration)
        values.append(value)
    return found


def _rows_since(each: Grown, opened: Mapping[int, tuple[list[int], list[float]]]) -> Run:
    iterations, values = opened[each.number]
    parts = points_of(
        np.concatenate([np.array(iterations, np.int64), each.iterations]),
        np.concatenate([np.array(values, np.float64), each.values]),
    ).parts
    return Run(each.before - len(iterations), parts)


def _levels(rows: Run, stored: Mapping[int, Run]) -> Iterator[tuple[int, Run]]:
    run = completed(rows, BASE)
    for level in range(1, TOP_LEVEL + 1):
        if run is None:
            return
        yield level, run
        earlier = stored.get(level)
        if earlier is not None:
            run = Run(earlier.first, chained([earlier.parts, run.parts]))
        run = completed(run, FACTOR)


def _stored_before(
    connection: Connection, job_key: int, due: Sequence[Grown]
) -> dict[int, dict[int, Run]]:
    """By metric and level: what the book has of a wider bucket that is completed now."""
    wanted = [
        (FIRST_METRIC + each.number, level, each.before // wide * FACTOR, each.before // width)
        for each in due
        for level in range(1, TOP_LEVEL)
        for width, wide in [(width_of(level), width_of(level + 1))]
        if each.before // wide != each.after // wide
    ]
    if not wanted:
        return {}
    names = ("series", "levels", "firsts", "ends")
    columns = dict(zip(names, map(list, zip(*wanted, strict=True)), strict=True))
    found = connection.execute(_STORED, {"job_key": job_key, **columns}).mappings()
    runs: dict[int, dict[int, Run]] = {}
    for (series, level), rows in groupby(found, key=itemgetter("series", "level")):
        runs.setdefault(series - FIRST_METRIC, {})[level] = _run(list(rows))
    return runs


def _run(rows: Sequence[RowMapping]) -> Run:
    """Stored buckets of one level, which lie side by side."""

    def array(name: str, missing: float, kind: type[np.generic]) -> NDArray[Any]:
        return np.array([missing if row[name] is None else row[name] for row in rows], kind)

    return Run(
        rows[0]["bucket"],
        Aggregates(
            array("first", 0, np.int64),
            array("count", 0, np.int64),
            array("non_finite", 0, np.int64),
            array("min", np.inf, np.float64),
            array("max", -np.inf, np.float64),
            array("sum", 0.0, np.float64),
        ),
    )
