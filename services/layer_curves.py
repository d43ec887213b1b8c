"""What each layer got of the error, drawn as curves: its rollups written and read.

Layers are measured at the first and every n-th iteration. Level 1 has buckets of 16 n iterations,
so that each holds sixteen readings, or the first one of all beside them.
"""

from collections.abc import Sequence

import numpy as np
from psycopg import sql
from sqlalchemy import Connection, delete, select

from models.tables import jobs, layer_readings, series_rollups
from services.aggregates import NOWHERE, Aggregates, chained, grouped, of_rows
from services.copying import copy_series_rollups
from services.curve_cover import CurveSpan, cover, level_for
from services.curve_parts import read_series_rollups
from services.layers import shares_of
from services.packed import (
    Columns,
    Series,
    Span,
    nulls_of,
    packed_fields,
    read_arrays,
    read_columns,
)
from services.parts import Parts, in_order, points_of
from services.readings_file import ReadingsFile
from services.rollups import BASE, FACTOR, TOP_LEVEL, Run, beyond, completed, width_of
from services.series import FIRST_METRIC, LAYER_NORMS, LayerSeries, layer_number, unknown_series

_SHARE = "error_share"
_STORED_NORMS = tuple(name for name in LAYER_NORMS if name != _SHARE)
_ERROR = "error_norm"
_OF_SHARES = ("iteration", "position", _ERROR)
_OF_EVERY_LAYER = (_ERROR, _SHARE)
_POINT = (("iteration", ">i8"), ("value", ">f8"))
_READINGS = sql.SQL("""
    SELECT {arrays} FROM (
        SELECT iteration, {norm} AS value FROM layer_readings
        WHERE job_key = %(job)s AND iteration BETWEEN %(first)s AND %(last)s
            AND position = %(position)s AND {norm} IS NOT NULL
        ORDER BY iteration
    ) AS readings
""")


def write_layer_rollups(
    connection: Connection, job_key: int, every: int, measured: Sequence[int]
) -> None:
    """Write what readings that stand in the book by now have completed.

    Args:
        connection: the transaction.
        job_key: the job.
        every: measured each so many iterations.
        measured: the iterations of the new readings, in order.

    """
    base = every * BASE
    if not measured or not every:
        return
    before, last = measured[0] - 1, measured[-1]
    begin, end = before // base, last // base
    if begin == end:
        return
    run = _read_run(connection, job_key, base, begin, end)
    for level in range(1, TOP_LEVEL + 1):
        if run is None:
            return
        _write(connection, job_key, level, run)
        wide = width_of(level + 1, base)
        if before // wide == last // wide:
            return
        earlier = _stored(connection, job_key, level, before // wide * FACTOR, run)
        run = completed(earlier, FACTOR)


def rewind_layer_rollups(connection: Connection, job_key: int, to_iteration: int) -> None:
    """Take back the buckets that hold iterations after this one."""
    every = connection.scalar(
        select(jobs.c.spec["record", "layers_every"].as_integer()).where(jobs.c.key == job_key)
    )
    if every:
        connection.execute(
            delete(series_rollups).where(
                series_rollups.c.job_key == job_key,
                series_rollups.c.series < FIRST_METRIC,
                beyond(series_rollups, to_iteration, every * BASE),
            )
        )


def read_layer_parts(
    connection: Connection, series: LayerSeries, span: CurveSpan, archive: ReadingsFile | None
) -> tuple[int, Parts]:
    """Read a layer's norm; the readings are in the archive, if there is one.

    Returns:
        How many iterations a point stands for (1: a reading), and what it is joined of.

    Raises:
        QueryInvalid: the job has no such layer.

    """
    if series.layer not in span.layers:
        raise unknown_series(f"layers.{series.layer}.{series.norm}", list(span.layers))
    position = list(span.layers).index(series.layer)
    every = int(span.record.get("layers_every") or 0)
    has_weights = bool(span.layers[series.layer])
    if not every or not span.rows or not (has_weights or series.norm in _OF_EVERY_LAYER):
        return 1, in_order([])

    def readings(first: int, last: int) -> Parts:
        asked = Span(span.job_key, first, last)
        if archive is not None:
            return _archived(archive, asked, position, series.norm)
        return _readings(connection, asked, position, series.norm)

    # The first iteration is measured whatever the rhythm.
    beside = int(span.first == 1 and every > 1)
    if span.last // every - (span.first - 1) // every + beside <= span.points:
        return 1, readings(span.first, span.last)
    base = every * BASE
    level = level_for(span.first, span.last, span.points, base)
    ranges = cover(span.first, span.last, level, base)
    wide = [each for each in ranges if each.level]
    number = layer_number(position, series.norm)
    rollups = read_series_rollups(connection, span.job_key, number, wide, base)
    buckets = [each.last - each.first + 1 for each in wide]
    if [len(each.start) for each in rollups] != buckets:
        # A book from before there were rollups, or readings in a rhythm of their own.
        return width_of(level, base), readings(span.first, span.last)
    edges = [readings(each.first, each.last) for each in ranges if not each.level]
    return width_of(level, base), in_order([*edges, *rollups])


def _readings(connection: Connection, span: Span, position: int, norm: str) -> Parts:
    if norm == _SHARE:
        return _shares(read_columns(connection, layer_readings, _OF_SHARES, span), position)
    statement = _READINGS.format(arrays=packed_fields(_POINT), norm=sql.Identifier(norm))
    parameters = {
        "job": span.job_key,
        "first": span.first,
        "last": span.last,
        "position": position,
    }
    found_points = read_arrays(connection, statement, _POINT, parameters)
    return points_of(found_points["iteration"], found_points["value"])


def _archived(archive: ReadingsFile, span: Span, position: int, norm: str) -> Parts:
    if norm == _SHARE:
        return _shares(archive.read(_OF_SHARES, span), position)
    found = archive.read(("iteration", "position", norm), span)
    return _of_layer(found, found[norm], position)


def _shares(found: Columns, position: int) -> Parts:
    return _of_layer(found, shares_of(found), position)


def _of_layer(found: Columns, norms: Series, position: int) -> Parts:
    mine = (found["position"].values == position) & ~nulls_of(norms)
    return points_of(found["iteration"].values[mine], norms.values[mine])


def _read_run(connection: Connection, job_key: int, base: int, begin: int, end: int) -> Run | None:
    """All series of all layers as buckets of level 1; None where a reading is not whole."""
    names = ("iteration", "position", *_STORED_NORMS)
    span = Span(job_key, begin * base + 1, end * base)
    found = read_columns(connection, layer_readings, names, span)
    positions = found["position"].values
    layers = int(positions.max(initial=-1)) + 1
    if not layers or len(positions) % layers:
        return None
    grid = (-1, layers)
    if (positions.reshape(grid) != np.arange(layers)).any():
        return None
    columns = {**found, _SHARE: shares_of(found)}
    values = np.stack([columns[name].values.reshape(grid).T for name in LAYER_NORMS], axis=1)
    missing = np.stack([nulls_of(columns[name]).reshape(grid).T for name in LAYER_NORMS], axis=1)
    iterations = found["iteration"].values.reshape(grid)[:, 0]
    bucket = (iterations - 1) // base
    starts = np.flatnonzero(np.diff(bucket, prepend=-1))
    if len(starts) != end - begin:
        return None
    rows = of_rows(
        iterations,
        values.reshape(-1, len(iterations)),
        ~missing.reshape(-1, len(iterations)),
    )
    return Run(begin, grouped(rows, starts))


def _stored(connection: Connection, job_key: int, level: int, first: int, run: Run) -> Run:
    """Put in front of a run what the wider bucket that it completes has of it already."""
    table = series_rollups.c
    rows = connection.execute(
        select(series_rollups)
        .where(
            table.job_key == job_key,
            table.series < FIRST_METRIC,
            table.level == level,
            table.bucket.between(first, run.first - 1),
        )
        .order_by(table.bucket)
    ).mappings()
    found = rows.all()
    several, buckets = run.parts.count.shape[0], run.first - first
    if len({row["bucket"] for row in found}) != buckets:
        return run
    shape = (several, buckets)
    parts = Aggregates(
        np.full(shape, NOWHERE),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.int64),
        np.full(shape, np.inf),
        np.full(shape, -np.inf),
        np.zeros(shape),
    )
    for row in found:
        place = (row["series"], row["bucket"] - first)
        parts.first[place], parts.count[place] = row["first"], row["count"]
        parts.non_finite[place], parts.sum[place] = row["non_finite"], row["sum"]
        if row["count"] > row["non_finite"]:
            parts.min[place], parts.max[place] = row["min"], row["max"]
    return Run(first, chained([parts, run.parts]))


def _write(connection: Connection, job_key: int, level: int, run: Run) -> None:
    series, bucket = np.nonzero(run.parts.count)
    cells = run.parts.at(series, bucket)
    copy_series_rollups(
        connection,
        job_key,
        series=series,
        level=np.full(len(series), level),
        bucket=bucket + run.first,
        cells=cells,
    )
