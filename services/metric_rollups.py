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
from psycopg import sql
from sqlalchemy import Connection, RowMapping, text

from services.aggregates import Aggregates, Floats, Ints, chained
from services.copying import copy_series_rollups
from services.curve_cover import Range, cover
from services.curve_parts import (
    Parts,
    in_order,
    packed_fields,
    points_of,
    read_arrays,
    read_series_rollups,
)
from services.rollups import BASE, FACTOR, TOP_LEVEL, Run, completed, width_of
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


class Stretch(NamedTuple):
    """Some of a metric's values: from `first` to `last`, counted from 1, and their iterations'.

    Attributes:
        begin, end: `first` is the first value from iteration `begin` on, `last` is the last one up
            to iteration `end`.

    """

    number: int
    first: int
    last: int
    begin: int
    end: int


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


def rewind_metric_rollups(connection: Connection, job_key: int, counts: Mapping[int, int]) -> None:
    """Take back the buckets that hold more values than these metrics have now."""
    connection.execute(
        _BEYOND,
        {
            "job_key": job_key,
            "series": [FIRST_METRIC + number for number in counts],
            "counts": list(counts.values()),
            "levels": list(range(1, TOP_LEVEL + 1)),
            "widths": [width_of(level) for level in range(1, TOP_LEVEL + 1)],
        },
    )


def read_stretch(connection: Connection, job_key: int, stretch: Stretch, level: int) -> Parts:
    """Read what a stretch of a metric comes to, in buckets of at most this level (0: its values).

    `start` of what is returned counts values.
    """
    ranges = cover(stretch.first, stretch.last, level)
    wide = [each for each in ranges if each.level]
    series = FIRST_METRIC + stretch.number
    found = read_series_rollups(connection, job_key, series, wide, BASE)
    edges = [each for each in ranges if not each.level]
    return in_order([*found, *(_edge(connection, job_key, stretch, edge) for edge in edges)])


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
_STORED = text("""
    SELECT series_rollups.*
    FROM unnest(CAST(:series AS integer[]), CAST(:levels AS smallint[]), CAST(:firsts AS bigint[]),
        CAST(:ends AS bigint[])) AS wanted (series, level, first, "end")
    JOIN series_rollups ON series_rollups.job_key = :job_key
        AND series_rollups.series = wanted.series AND series_rollups.level = wanted.level
        AND series_rollups.bucket >= wanted.first AND series_rollups.bucket < wanted."end"
    ORDER BY series_rollups.series, series_rollups.level, series_rollups.bucket
""")
_BEYOND = text("""
    DELETE FROM series_rollups
    USING unnest(CAST(:series AS integer[]), CAST(:counts AS bigint[])) AS kept (series, count),
        unnest(CAST(:levels AS smallint[]), CAST(:widths AS bigint[])) AS held (level, width)
    WHERE series_rollups.job_key = :job_key AND series_rollups.series = kept.series
        AND series_rollups.level = held.level
        AND series_rollups.bucket >= kept.count / held.width
""")
_POINT = (("iteration", ">i8"), ("value", ">f8"))
_FROM_BEGIN = sql.SQL("""
    SELECT {arrays} FROM (
        SELECT iteration, value FROM metric_values
        WHERE job_key = %(job)s AND metric = %(metric)s AND iteration >= %(at)s
        ORDER BY iteration LIMIT %(count)s
    ) AS told
""").format(arrays=packed_fields(_POINT))
# The newest first: turned over below.
_TO_END = sql.SQL("""
    SELECT {arrays} FROM (
        SELECT iteration, value FROM metric_values
        WHERE job_key = %(job)s AND metric = %(metric)s AND iteration <= %(at)s
        ORDER BY iteration DESC LIMIT %(count)s
    ) AS told
""").format(arrays=packed_fields(_POINT))


def _edge(connection: Connection, job_key: int, stretch: Stretch, edge: Range) -> Parts:
    """Read single values: they are the first ones of the stretch, or its last ones."""
    begins = edge.first == stretch.first
    parameters = {
        "job": job_key,
        "metric": stretch.number,
        "at": stretch.begin if begins else stretch.end,
        "count": edge.last - edge.first + 1,
    }
    found = read_arrays(connection, _FROM_BEGIN if begins else _TO_END, _POINT, parameters)
    order = slice(None) if begins else slice(None, None, -1)
    points = points_of(found["iteration"][order], found["value"][order])
    return Parts(np.arange(edge.first, edge.last + 1), points.parts)


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
