"""Reading parts of curves: rollups and rows of many jobs at once, as numpy arrays.

Two statements read whatever the number of jobs and of points: one the rollups, one the rows at
the edges. Each takes ranges as arrays and looks every one of them up by the primary key.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from sqlalchemy import Connection

from services.aggregates import NOWHERE, Aggregates, Ints, chained, grouped, of_rows
from services.archive import ArchiveFile
from services.curve_cover import Range
from services.packed import unpack
from services.parquet import ROW_GROUP_ROWS
from services.rollups import BASE, SPARSE, width_of


class Wanted(NamedTuple):
    """Ranges of one job, in order; its rows are in the archive, if there is one."""

    job_key: int
    ranges: Sequence[Range]
    archive: ArchiveFile | None = None


class Parts(NamedTuple):
    """Buckets, and rows as buckets of one: `start` is the first iteration that one could hold."""

    start: Ints
    parts: Aggregates


# LIMIT keeps the planner from anything but one look into the index a range.
_ROLLUPS = sql.SQL("""
    SELECT {arrays} FROM (
        SELECT wanted.place, found.*
        FROM unnest(%(jobs)s::bigint[], %(levels)s::smallint[], %(firsts)s::bigint[],
            %(lasts)s::bigint[]) WITH ORDINALITY AS wanted (job, level, first, last, place),
        LATERAL (
            SELECT bucket, {columns} FROM rollups
            WHERE job_key = wanted.job AND level = wanted.level
                AND bucket BETWEEN wanted.first AND wanted.last
            ORDER BY bucket LIMIT wanted.last - wanted.first + 1
        ) AS found
        ORDER BY wanted.place, found.bucket
    ) AS parts
""")
_ROWS = sql.SQL("""
    SELECT {arrays} FROM (
        SELECT wanted.place, found.*
        FROM unnest(%(jobs)s::bigint[], %(firsts)s::bigint[], %(lasts)s::bigint[])
            WITH ORDINALITY AS wanted (job, first, last, place),
        LATERAL (
            SELECT iteration, {column} AS value FROM iterations
            WHERE job_key = wanted.job AND iteration BETWEEN wanted.first AND wanted.last
            ORDER BY iteration LIMIT wanted.last - wanted.first + 1
        ) AS found
        WHERE found.value IS NOT NULL
        ORDER BY wanted.place, found.iteration
    ) AS parts
""")
_GROUPED = sql.SQL("""
    SELECT {arrays} FROM (
        SELECT (iteration - 1) / %(width)s AS bucket, min(iteration) AS first, count(*) AS count,
            count(*) FILTER (WHERE NOT finite) AS non_finite,
            coalesce(min(value) FILTER (WHERE finite), 'Infinity') AS min,
            coalesce(max(value) FILTER (WHERE finite), '-Infinity') AS max,
            coalesce(sum(value) FILTER (WHERE finite), 0) AS sum
        FROM (
            SELECT iteration, {column} AS value,
                {column} > '-Infinity' AND {column} < 'Infinity' AS finite
            FROM iterations
            WHERE job_key = %(job)s AND iteration BETWEEN %(first)s AND %(last)s
                AND {column} IS NOT NULL
        ) AS measured
        GROUP BY 1 ORDER BY 1
    ) AS parts
""")
_AT = sql.SQL("""
    SELECT {arrays} FROM (
        SELECT iteration, {column} AS value FROM iterations
        WHERE job_key = %(job)s AND iteration = ANY(%(iterations)s) AND {column} IS NOT NULL
        ORDER BY iteration
    ) AS parts
""")
_SERIES = sql.SQL("""
    SELECT {arrays} FROM (
        SELECT wanted.place, found.*
        FROM unnest(%(levels)s::smallint[], %(firsts)s::bigint[], %(lasts)s::bigint[])
            WITH ORDINALITY AS wanted (level, first, last, place),
        LATERAL (
            SELECT bucket, non_finite, coalesce(min, 'Infinity') AS min,
                coalesce(max, '-Infinity') AS max, sum, first, count
            FROM series_rollups
            WHERE job_key = %(job)s AND series = %(series)s AND level = wanted.level
                AND bucket BETWEEN wanted.first AND wanted.last
            ORDER BY bucket LIMIT wanted.last - wanted.first + 1
        ) AS found
        ORDER BY wanted.place, found.bucket
    ) AS parts
""")
_SUMS = (("non_finite", ">i4"), ("min", ">f8"), ("max", ">f8"), ("sum", ">f8"))
_BUCKETS = (("place", ">i8"), ("bucket", ">i8"), *_SUMS)
_SPARSE_BUCKETS = (*_BUCKETS, ("first", ">i8"), ("count", ">i4"))
_GROUPS = (("bucket", ">i8"), ("first", ">i8"), ("count", ">i8"), ("non_finite", ">i8"), *_SUMS[1:])
_POINTS = (("iteration", ">i8"), ("value", ">f8"))
_PLACED = (("place", ">i8"), *_POINTS)

Arrays = Mapping[str, NDArray[Any]]
Fields = tuple[tuple[str, str], ...]


class _Piece(NamedTuple):
    job: int
    job_key: int
    range: Range
    archive: ArchiveFile | None = None


def read_parts(connection: Connection, column: str, wanted: Sequence[Wanted]) -> list[Parts]:
    """Read what covers some ranges of a column of the iterations, job by job.

    Rollups that are not there, as in a book from before there were any, are made up for from the
    rows.

    Raises:
        ArchiveSpoilt, ArchiveAway: as they say.

    """
    pieces = [
        _Piece(job, each.job_key, one, each.archive)
        for job, each in enumerate(wanted)
        for one in each.ranges
    ]
    found: list[list[Parts]] = [[] for _ in wanted]
    for piece, parts in (
        *_from_rollups(connection, column, [piece for piece in pieces if piece.range.level]),
        *_from_rows(connection, column, [piece for piece in pieces if not piece.range.level]),
    ):
        found[piece.job].append(parts)
    return [in_order(each) for each in found]


def read_points(
    connection: Connection,
    column: str,
    job_key: int,
    iterations: Ints,
    archive: ArchiveFile | None = None,
) -> Parts:
    """Read the values that a column has at these iterations, which rise."""
    if archive is not None:
        return _from_archive_at(archive, column, iterations)
    parameters = {"job": job_key, "iterations": iterations.tolist()}
    found = read_arrays(connection, _of_column(_AT, column, _POINTS), _POINTS, parameters)
    return points_of(found["iteration"], found["value"])


def read_series_rollups(
    connection: Connection, job_key: int, series: int, ranges: Sequence[Range], base: int
) -> list[Parts]:
    """Read the rollups of a sparse series, range by range; a bucket without a row has none."""
    pieces = [_Piece(0, job_key, one) for one in ranges]
    if not pieces:
        return []
    statement = _SERIES.format(arrays=packed_fields(_SPARSE_BUCKETS))
    parameters = _bounds(pieces) | {"job": job_key, "series": series}
    found = read_arrays(connection, statement, _SPARSE_BUCKETS, parameters)
    return [_buckets(each, piece, base) for piece, each in _by_piece(found, pieces)]


def in_order(several: Sequence[Parts]) -> Parts:
    """Put parts one after the other, by their iterations."""
    if not several:
        return points_of(np.empty(0, np.int64), np.empty(0))
    start = np.concatenate([each.start for each in several])
    order = np.argsort(start, kind="stable")
    return Parts(start[order], chained([each.parts for each in several]).part(order))


def points_of(iterations: Ints, values: NDArray[Any]) -> Parts:
    """Rows as parts: each a bucket of its own."""
    return Parts(iterations, of_rows(iterations, values, np.ones(len(values), dtype=bool)))


def _from_rollups(
    connection: Connection, column: str, pieces: Sequence[_Piece]
) -> Iterator[tuple[_Piece, Parts]]:
    if not pieces:
        return
    fields = _SPARSE_BUCKETS if column == SPARSE else _BUCKETS
    found = read_arrays(connection, _rollups_of(column), fields, _bounds(pieces))
    for piece, each in _by_piece(found, pieces):
        if len(each["bucket"]) == piece.range.last - piece.range.first + 1:
            yield piece, _buckets(each, piece)
        else:
            yield piece, _from_rows_alone(connection, column, piece)


def _buckets(found: Arrays, piece: _Piece, base: int = BASE) -> Parts:
    width = width_of(piece.range.level, base)
    start = found["bucket"] * width + 1
    sums = [found[name] for name, _ in _SUMS]
    count = found.get("count", np.full(len(start), width))
    return Parts(start, Aggregates(found.get("first", start), count.astype(np.int64), *sums))


def _from_rows_alone(connection: Connection, column: str, piece: _Piece) -> Parts:
    level, first, last = piece.range
    width = width_of(level)
    if piece.archive is not None:
        rows = points_of(*piece.archive.values(column, first * width + 1, (last + 1) * width))
        return _in_buckets(rows, width)
    parameters = {
        "job": piece.job_key,
        "width": width,
        "first": first * width + 1,
        "last": (last + 1) * width,
    }
    found = read_arrays(connection, _of_column(_GROUPED, column, _GROUPS), _GROUPS, parameters)
    columns = [found[name] for name, _ in _GROUPS[1:]]
    return Parts(found["bucket"] * width + 1, Aggregates(*columns))


def _from_rows(
    connection: Connection, column: str, pieces: Sequence[_Piece]
) -> Iterator[tuple[_Piece, Parts]]:
    for piece in pieces:
        if piece.archive is not None:
            rows = piece.archive.values(column, piece.range.first, piece.range.last)
            yield piece, points_of(*rows)
    pieces = [piece for piece in pieces if piece.archive is None]
    if not pieces:
        return
    found = read_arrays(connection, _of_column(_ROWS, column, _PLACED), _PLACED, _bounds(pieces))
    for piece, each in _by_piece(found, pieces):
        yield piece, points_of(each["iteration"], each["value"])


def _in_buckets(rows: Parts, width: int) -> Parts:
    bucket = (rows.start - 1) // width
    starts = np.flatnonzero(np.diff(bucket, prepend=-1))
    if not len(starts):
        return rows
    cells = grouped(rows.parts, starts)
    # One after the other, as the database adds them: the last bits of a sum hang on the order.
    sums = np.bincount(bucket - bucket[0], weights=rows.parts.sum)[bucket[starts] - bucket[0]]
    return Parts(bucket[starts] * width + 1, replace(cells, sum=sums))


def _from_archive_at(archive: ArchiveFile, column: str, iterations: Ints) -> Parts:
    """Look the iterations up, some rows of the file at a time."""
    found = []
    for first in range(1, archive.rows + 1, ROW_GROUP_ROWS):
        last = first + ROW_GROUP_ROWS - 1
        begin, end = np.searchsorted(iterations, [first, last + 1])
        if begin < end:
            rows = archive.values(column, first, last)
            wanted = np.isin(rows[0], iterations[begin:end], assume_unique=True)
            found.append(points_of(rows[0][wanted], rows[1][wanted]))
    return in_order(found)


def _bounds(pieces: Sequence[_Piece]) -> dict[str, Any]:
    return {
        "jobs": [piece.job_key for piece in pieces],
        "levels": [piece.range.level for piece in pieces],
        "firsts": [piece.range.first for piece in pieces],
        "lasts": [piece.range.last for piece in pieces],
    }


def _by_piece(found: Arrays, pieces: Sequence[_Piece]) -> Iterator[tuple[_Piece, Arrays]]:
    """Cut what was found at the borders of the pieces that it was found for."""
    ends = np.searchsorted(found["place"], np.arange(1, len(pieces) + 1), side="right")
    for piece, begin, end in zip(pieces, [0, *ends[:-1]], ends, strict=True):
        yield piece, {name: each[begin:end] for name, each in found.items()}


@cache
def _rollups_of(column: str) -> sql.Composed:
    """The rollups' columns of one column, under the names of `Aggregates`."""
    missing = {"min": "Infinity", "max": "-Infinity"}
    if column == SPARSE:
        missing |= {"first": str(NOWHERE)}
    fields = _SPARSE_BUCKETS if column == SPARSE else _BUCKETS
    columns = [
        sql.SQL("coalesce({}, {}) AS {}").format(
            sql.Identifier(f"{column}_{name}"), sql.Literal(missing[name]), sql.Identifier(name)
        )
        if name in missing
        else sql.SQL("{} AS {}").format(sql.Identifier(f"{column}_{name}"), sql.Identifier(name))
        for name, _ in fields[2:]
    ]
    return _ROLLUPS.format(arrays=packed_fields(fields), columns=sql.SQL(", ").join(columns))


def _of_column(statement: sql.SQL, column: str, fields: Fields) -> sql.Composed:
    return statement.format(arrays=packed_fields(fields), column=sql.Identifier(column))


def packed_fields(fields: Fields) -> sql.Composed:
    """What a statement for `read_arrays` selects: each of its rows' fields, packed into one."""
    packed = sql.SQL("array_send(array_agg({}))")
    return sql.SQL(", ").join([packed.format(sql.Identifier(name)) for name, _ in fields])


def read_arrays(
    connection: Connection, statement: sql.Composed, fields: Fields, parameters: Mapping[str, Any]
) -> Arrays:
    """Run a statement that selects `packed_fields`; returns the fields' values, row by row."""
    driver: psycopg.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    with driver.cursor(binary=True) as cursor:
        row = cursor.execute(statement, parameters).fetchone() or ()
    return {name: unpack(packed, kind) for packed, (name, kind) in zip(row, fields, strict=True)}
