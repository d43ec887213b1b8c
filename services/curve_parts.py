"""Reading parts of curves: rollups and rows of many jobs at once, as numpy arrays.

Two statements read whatever the number of jobs and of points: one the rollups, one the rows at
the edges. Each takes ranges as arrays and looks every one of them up by the primary key.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from psycopg import sql
from sqlalchemy import Connection

from services.aggregates import NOWHERE, Aggregates
from services.archive import ArchiveFile
from services.curve_cover import Range
from services.packed import Arrays, Fields, packed_fields, read_arrays
from services.parts import Parts, in_buckets, in_order, points_of
from services.rollups import BASE, SPARSE, width_of
from services.row_groups import AGGREGATES, aggregates_of, cells_of


class Wanted(NamedTuple):
    """Ranges of one job, in order; its rows are in the archive, if there is one."""

    job_key: int
    ranges: Sequence[Range]
    archive: ArchiveFile | None = None


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
        SELECT wanted.place, found.*
        FROM unnest(%(jobs)s::bigint[], %(widths)s::bigint[], %(firsts)s::bigint[],
            %(lasts)s::bigint[]) WITH ORDINALITY AS wanted (job, width, first, last, place),
        LATERAL (
            SELECT (iteration - 1) / wanted.width AS bucket, {aggregates} FROM iterations
            WHERE job_key = wanted.job AND iteration BETWEEN wanted.first AND wanted.last
                AND {column} IS NOT NULL
            GROUP BY 1
        ) AS found
        ORDER BY wanted.place, found.bucket
    ) AS parts
""")
_SUMS = (("non_finite", ">i4"), ("min", ">f8"), ("max", ">f8"), ("sum", ">f8"))
_BUCKETS = (("place", ">i8"), ("bucket", ">i8"), *_SUMS)
_SPARSE_BUCKETS = (*_BUCKETS, ("first", ">i8"), ("count", ">i4"))
_GROUPS = (("place", ">i8"), ("bucket", ">i8"), *AGGREGATES)
_PLACED = (("place", ">i8"), ("iteration", ">i8"), ("value", ">f8"))


class _Piece(NamedTuple):
    job: int
    job_key: int
    range: Range
    archive: ArchiveFile | None = None

    @property
    def width(self) -> int:
        return width_of(self.range.level)

    @property
    def begin(self) -> int:
        """The first iteration of a range of buckets."""
        return self.range.first * self.width + 1

    @property
    def end(self) -> int:
        """Their last one."""
        return (self.range.last + 1) * self.width


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


def _from_rollups(
    connection: Connection, column: str, pieces: Sequence[_Piece]
) -> Iterator[tuple[_Piece, Parts]]:
    if not pieces:
        return
    fields = _SPARSE_BUCKETS if column == SPARSE else _BUCKETS
    found = read_arrays(connection, _rollups_of(column), fields, _bounds(pieces))
    missing = []
    for piece, each in _by_piece(found, pieces):
        if len(each["bucket"]) == piece.range.last - piece.range.first + 1:
            yield piece, _buckets(each, piece)
        else:
            missing.append(piece)
    yield from _from_rows_alone(connection, column, missing)


def _buckets(found: Arrays, piece: _Piece, base: int = BASE) -> Parts:
    width = width_of(piece.range.level, base)
    start = found["bucket"] * width + 1
    sums = [found[name] for name, _ in _SUMS]
    count = found.get("count", np.full(len(start), width))
    return Parts(start, Aggregates(found.get("first", start), count.astype(np.int64), *sums))


def _from_rows_alone(
    connection: Connection, column: str, pieces: Sequence[_Piece]
) -> Iterator[tuple[_Piece, Parts]]:
    for piece in pieces:
        if piece.archive is not None:
            rows = points_of(*piece.archive.values(column, piece.begin, piece.end))
            yield piece, in_buckets(rows, piece.width)
    pieces = [piece for piece in pieces if piece.archive is None]
    if not pieces:
        return
    statement = _GROUPED.format(
        arrays=packed_fields(_GROUPS),
        aggregates=aggregates_of(column),
        column=sql.Identifier(column),
    )
    parameters = {
        "jobs": [piece.job_key for piece in pieces],
        "widths": [piece.width for piece in pieces],
        "firsts": [piece.begin for piece in pieces],
        "lasts": [piece.end for piece in pieces],
    }
    found = read_arrays(connection, statement, _GROUPS, parameters)
    for piece, each in _by_piece(found, pieces):
        yield piece, Parts(each["bucket"] * piece.width + 1, cells_of(each))


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
