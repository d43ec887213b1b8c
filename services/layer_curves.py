"""What each layer got of the error, drawn as curves: its rollups written and read.

Layers are measured at the first and every n-th iteration. Level 1 has buckets of 16 n iterations,
so that each holds sixteen readings, or the first one of all beside them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection, delete, select

from models.tables import jobs, layer_readings, series_rollups
from services.aggregates import NOWHERE, Aggregates, chained, grouped, of_rows
from services.copying import copy_series_rollups
from services.curve_cover import CurveSpan, cover, level_for
from services.layer_norms import OF_SHARES, SHARE, NormRange, of_layer, read_norms
from services.layers import shares_of
from services.packed import (
    Span,
    nulls_of,
    read_columns,
)
from services.parts import Parts, in_order
from services.readings_file import ReadingsFile
from services.rollups import BASE, FACTOR, TOP_LEVEL, Run, beyond, completed, width_of
from services.series import FIRST_METRIC, LAYER_NORMS, LayerSeries, layer_number, unknown_series
from services.series_buckets import SeriesRange, read_series_buckets

_STORED_NORMS = tuple(name for name in LAYER_NORMS if name != SHARE)
_ERROR = "error_norm"
_OF_EVERY_LAYER = (_ERROR, SHARE)


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
    connection: Connection,
    series: LayerSeries,
    spans: Sequence[CurveSpan],
    archives: Mapping[int, ReadingsFile],
) -> list[tuple[int, Parts]]:
    """Read a layer's norm of several jobs, whose layers may stand at unlike places.

    Args:
        connection: a snapshot.
        series: which.
        spans: of which iterations of which jobs.
        archives: by the job's key, where its readings are in a file.

    Returns:
        How many iterations a point stands for (1: a reading), and what it is joined of.

    Raises:
        QueryInvalid: one of the jobs has no such layer.

    """
    drawings = [_drawing(series, span) for span in spans]
    buckets = iter(
        read_series_buckets(connection, [each for one in drawings for each in one.buckets])
    )
    held = [[next(buckets) for _ in one.buckets] for one in drawings]
    for place, (one, parts) in enumerate(zip(drawings, held, strict=True)):
        if any(
            len(found.start) != each.range.last - each.range.first + 1
            for each, found in zip(one.buckets, parts, strict=True)
        ):
            # A book from before there were rollups, or readings in a rhythm of their own.
            whole = _whole(series, spans[place])
            readings = [whole._replace(width=one.width)] if whole else []
            drawings[place], held[place] = _Drawing(one.width, (), readings), []
    asked = [each for one in drawings for each in one.readings]
    tabled = [each for each in asked if each.job_key not in archives]
    read = iter(read_norms(connection, series.norm, tabled))
    for one, parts in zip(drawings, held, strict=True):
        for each in one.readings:
            file = archives.get(each.job_key)
            parts.append(next(read) if file is None else _archived(file, each, series.norm))
    return [(one.width, in_order(parts)) for one, parts in zip(drawings, held, strict=True)]


class _Drawing(NamedTuple):
    """What a job's curve is made of; a point stands for `width` iterations."""

    width: int
    buckets: Sequence[SeriesRange] = ()
    readings: Sequence[NormRange] = ()


def _drawing(series: LayerSeries, span: CurveSpan) -> _Drawing:
    whole = _whole(series, span)
    if whole is None:
        return _Drawing(1)
    every = whole.every
    # The first iteration is measured whatever the rhythm.
    beside = int(span.first == 1 and every > 1)
    if span.last // every - (span.first - 1) // every + beside <= span.points:
        return _Drawing(1, (), [whole])
    base = every * BASE
    level = level_for(span.first, span.last, span.points, base)
    ranges = cover(span.first, span.last, level, base)
    number = layer_number(whole.position, series.norm)
    return _Drawing(
        width_of(level, base),
        [SeriesRange(span.job_key, number, each, base) for each in ranges if each.level],
        [whole._replace(first=each.first, last=each.last) for each in ranges if not each.level],
    )


def _whole(series: LayerSeries, span: CurveSpan) -> NormRange | None:
    """All readings of the span; None where there are none of this norm."""
    if series.layer not in span.layers:
        raise unknown_series(f"layers.{series.layer}.{series.norm}", list(span.layers))
    every = int(span.record.get("layers_every") or 0)
    has_weights = bool(span.layers[series.layer])
    if not every or not span.rows or not (has_weights or series.norm in _OF_EVERY_LAYER):
        return None
    position = list(span.layers).index(series.layer)
    return NormRange(span.job_key, position, span.first, span.last, len(span.layers), every)


def _archived(archive: ReadingsFile, wanted: NormRange, norm: str) -> Parts:
    span = Span(wanted.job_key, wanted.first, wanted.last)
    if norm == SHARE:
        found = archive.read(OF_SHARES, span)
        norms = shares_of(found)
    else:
        found = archive.read(("iteration", "position", norm), span)
        norms = found[norm]
    return wanted.joined(of_layer(found, norms, wanted.position))


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
    columns = {**found, SHARE: shares_of(found)}
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
