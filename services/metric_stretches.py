"""Reading what stretches of metrics come to: of many jobs or metrics at once.

A metric's values are counted from 1 (`ordinal`). Three statements read whatever the number of
stretches: the complete buckets, and the single values at either end. Each looks every range up by
the primary key.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from sqlalchemy import Connection

from services.curve_cover import Range, cover
from services.packed import Span, packed_fields, read_arrays
from services.parts import Parts, in_order, points_of
from services.readings_file import ReadingsFile
from services.series import FIRST_METRIC
from services.series_buckets import SeriesRange, read_series_buckets


class Stretch(NamedTuple):
    """Some of a metric's values: from `first` to `last`, counted from 1, and their iterations'.

    Attributes:
        begin, end: `first` is the first value from iteration `begin` on, `last` is the last one up
            to iteration `end`.
        level: buckets of at most this level are wanted; 0: the values.

    """

    job_key: int
    number: int
    first: int
    last: int
    begin: int
    end: int
    level: int


def read_stretches(
    connection: Connection,
    wanted: Sequence[Stretch],
    archives: Mapping[int, ReadingsFile] = MappingProxyType({}),
) -> list[Parts]:
    """Read them, each as parts in order, whose `start` counts values.

    Args:
        connection: the transaction.
        wanted: which.
        archives: by the job's key, where its values are in a file.

    """
    pieces = [
        _Piece(place, stretch, each)
        for place, stretch in enumerate(wanted)
        for each in cover(stretch.first, stretch.last, stretch.level)
    ]
    filed = [piece for piece in pieces if not piece.range.level and piece.job_key in archives]
    tabled = [piece for piece in pieces if not piece.range.level and piece.job_key not in archives]
    found: list[list[Parts]] = [[] for _ in wanted]
    for piece, parts in (
        *_buckets(connection, [piece for piece in pieces if piece.range.level]),
        *_values(connection, _FROM_BEGIN, [piece for piece in tabled if piece.begins]),
        *_values(connection, _TO_END, [piece for piece in tabled if not piece.begins]),
        *((piece, _archived(archives[piece.job_key], piece)) for piece in filed),
    ):
        found[piece.place].append(parts)
    return [in_order(each) for each in found]


class _Piece(NamedTuple):
    """A range of one of the stretches; single values stand at its begin or at its end."""

    place: int
    stretch: Stretch
    range: Range

    @property
    def job_key(self) -> int:
        return self.stretch.job_key

    @property
    def begins(self) -> bool:
        return self.range.first == self.stretch.first


# LIMIT keeps the planner from anything but one look into the index a range.
_VALUE = (("place", ">i8"), ("ordinal", ">i8"), ("iteration", ">i8"), ("value", ">f8"))
_EDGES = """
    SELECT {arrays} FROM (
        SELECT wanted.place, found.*
        FROM unnest(%(jobs)s::bigint[], %(metrics)s::integer[], %(begins)s::bigint[],
            %(ends)s::bigint[], %(counts)s::bigint[])
            WITH ORDINALITY AS wanted (job, metric, begin, "end", count, place),
        LATERAL (
            SELECT ordinal, iteration, value FROM metric_values
            WHERE job_key = wanted.job AND metric = wanted.metric
                AND iteration BETWEEN wanted.begin AND wanted."end"
            ORDER BY iteration {direction} LIMIT wanted.count
        ) AS found
        ORDER BY wanted.place, found.iteration
    ) AS parts
"""
_FROM_BEGIN, _TO_END = (
    sql.SQL(_EDGES).format(arrays=packed_fields(_VALUE), direction=sql.SQL(direction))
    for direction in ("ASC", "DESC")
)


def _buckets(connection: Connection, pieces: Sequence[_Piece]) -> Iterator[tuple[_Piece, Parts]]:
    ranges = [
        SeriesRange(piece.job_key, FIRST_METRIC + piece.stretch.number, piece.range)
        for piece in pieces
    ]
    yield from zip(pieces, read_series_buckets(connection, ranges), strict=True)


def _values(
    connection: Connection, statement: sql.Composed, pieces: Sequence[_Piece]
) -> Iterator[tuple[_Piece, Parts]]:
    if not pieces:
        return
    parameters = {
        "jobs": [piece.stretch.job_key for piece in pieces],
        "metrics": [piece.stretch.number for piece in pieces],
        "begins": [piece.stretch.begin for piece in pieces],
        "ends": [piece.stretch.end for piece in pieces],
        "counts": [piece.range.last - piece.range.first + 1 for piece in pieces],
    }
    found = read_arrays(connection, statement, _VALUE, parameters)
    for piece, held in _by_piece(found, pieces):
        points = points_of(held["iteration"], held["value"])
        yield piece, Parts(held["ordinal"], points.parts)


def _archived(file: ReadingsFile, piece: _Piece) -> Parts:
    stretch, several = piece.stretch, piece.range.last - piece.range.first + 1
    span = Span(stretch.job_key, stretch.begin, stretch.end, metric=stretch.number)
    read = file.read if piece.begins else file.newest
    found = read(("ordinal", "iteration", "value"), span, several)
    points = points_of(found["iteration"].values, found["value"].values)
    return Parts(found["ordinal"].values, points.parts)


def _by_piece(
    found: Mapping[str, NDArray[Any]], pieces: Sequence[_Piece]
) -> Iterator[tuple[_Piece, dict[str, NDArray[Any]]]]:
    """Cut what was found at the borders of the pieces that it was found for."""
    ends = np.searchsorted(found["place"], np.arange(1, len(pieces) + 1), side="right")
    for piece, begin, end in zip(pieces, [0, *ends[:-1]], ends, strict=True):
        yield piece, {name: each[begin:end] for name, each in found.items()}
