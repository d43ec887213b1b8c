"""The few values of a series that is measured now and then, however long the run is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from psycopg import sql
from sqlalchemy import Connection

from services.aggregates import Ints
from services.archive import ArchiveFile
from services.curve_cover import CurveSpan, Range
from services.curve_parts import Wanted, read_parts
from services.packed import packed_fields, read_arrays
from services.parquet import ROW_GROUP_ROWS
from services.parts import Parts, in_order, points_of
from services.rollups import BASE, FACTOR, width_of


@dataclass(frozen=True, slots=True)
class Rare:
    """A job's values to be found, where buckets say how many there are.

    Attributes:
        every: the rhythm that the job's spec tells; 0: none.
        wanted: the ranges that the buckets were read from.
        parts: the buckets.

    """

    span: CurveSpan
    every: int
    wanted: Wanted
    parts: Parts

    @property
    def count(self) -> int:
        return int(self.parts.parts.count.sum())


# LIMIT keeps the planner from anything but one look into the index a beat.
_BEATS = sql.SQL("""
    SELECT {arrays} FROM (
        SELECT wanted.place, found.*
        FROM unnest(%(jobs)s::bigint[], %(firsts)s::bigint[], %(lasts)s::bigint[],
            %(steps)s::bigint[]) WITH ORDINALITY AS wanted (job, first, last, step, place),
        LATERAL generate_series(wanted.first, wanted.last, wanted.step) AS beat,
        LATERAL (
            SELECT iteration, {column} AS value FROM iterations
            WHERE job_key = wanted.job AND iteration = beat LIMIT 1
        ) AS found
        WHERE found.value IS NOT NULL
        ORDER BY wanted.place, found.iteration
    ) AS points
""")
_POINTS = (("place", ">i8"), ("iteration", ">i8"), ("value", ">f8"))


def read_rare(connection: Connection, column: str, wanted: Sequence[Rare]) -> list[Parts]:
    """Read each one's values, as many as its buckets count.

    They are looked for where the job's rhythm has them. Where that is not where they are, they are
    looked for in the finer buckets of those that hold some, down to the rows: that is work for as
    many buckets as there are values, and not for as many rows as the run has.

    Raises:
        ArchiveSpoilt, ArchiveAway: as they say.

    """
    found = _in_rhythm(connection, column, [each for each in wanted if _fits(each)])
    met = iter(found)
    kept = [next(met) if _fits(each) else None for each in wanted]
    missed = [
        place
        for place, (each, parts) in enumerate(zip(wanted, kept, strict=True))
        if parts is None or len(parts.start) != each.count
    ]
    dug = _dig(connection, column, [wanted[place] for place in missed])
    for place, parts in zip(missed, dug, strict=True):
        kept[place] = parts
    return [parts for parts in kept if parts is not None]


def _fits(each: Rare) -> bool:
    """Whether the rhythm has as many beats as there are values."""
    if not each.every or not each.count:
        return False
    first, last = each.span.first, each.span.last
    beside = int(first == 1 and each.every > 1)
    return last // each.every - (first - 1) // each.every + beside == each.count


def _in_rhythm(connection: Connection, column: str, wanted: Sequence[Rare]) -> list[Parts]:
    """Read what there is at the first and every n-th iteration."""
    beats = [beat for each in wanted if each.wanted.archive is None for beat in _beats(each)]
    found: list[list[Parts]] = [[] for _ in wanted]
    places = [place for place, each in enumerate(wanted) if each.wanted.archive is None]
    for place, parts in zip(
        np.repeat(places, 2).tolist(), _at(connection, column, beats), strict=True
    ):
        found[place].append(parts)
    for place, each in enumerate(wanted):
        if each.wanted.archive is not None:
            first, last = each.span.first, each.span.last
            every = np.arange(-(-first // each.every) * each.every, last + 1, each.every)
            beaten = np.union1d(np.arange(first, 2), every)
            found[place].append(_from_archive_at(each.wanted.archive, column, beaten))
    return [in_order(several) for several in found]


class _Beat(NamedTuple):
    """Iterations `first`, `first + step`, … up to `last`."""

    job_key: int
    first: int
    last: int
    step: int


def _beats(each: Rare) -> Iterator[_Beat]:
    first, last, every = each.span.first, each.span.last, each.every
    # The first iteration is measured whatever the rhythm.
    yield _Beat(each.span.job_key, first, min(last, 1 if every > 1 else 0), 1)
    yield _Beat(each.span.job_key, -(-first // every) * every, last, every)


def _at(connection: Connection, column: str, beats: Sequence[_Beat]) -> list[Parts]:
    if not beats:
        return []
    jobs, firsts, lasts, steps = (list(each) for each in zip(*beats, strict=True))
    statement = _BEATS.format(arrays=packed_fields(_POINTS), column=sql.Identifier(column))
    parameters = {"jobs": jobs, "firsts": firsts, "lasts": lasts, "steps": steps}
    found = read_arrays(connection, statement, _POINTS, parameters)
    borders = np.searchsorted(found["place"], np.arange(len(beats) + 1), side="right").tolist()
    return [
        points_of(found["iteration"][begin:end], found["value"][begin:end])
        for begin, end in pairwise(borders)
    ]


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


def _dig(connection: Connection, column: str, wanted: Sequence[Rare]) -> list[Parts]:
    """Go down into the buckets that hold several values; one that holds one is that value."""
    known: list[list[Parts]] = [[] for _ in wanted]
    looked = [each.wanted for each in wanted]
    read = [each.parts for each in wanted]
    while any(each.ranges for each in looked):
        for values, parts in zip(known, read, strict=True):
            values.append(_single(parts))
        looked = [
            each._replace(ranges=_deeper(each.ranges, parts))
            for each, parts in zip(looked, read, strict=True)
        ]
        read = read_parts(connection, column, looked)
    return [in_order(values) for values in known]


def _single(parts: Parts) -> Parts:
    alone = np.flatnonzero(parts.parts.count == 1)
    cells = parts.parts.part(alone)
    return Parts(cells.first, cells)


def _deeper(ranges: Sequence[Range], parts: Parts) -> list[Range]:
    """The parts of those buckets of the ranges that hold several values, a level below."""
    crowded = parts.start[parts.parts.count > 1]
    begins = [each.first * width_of(each.level) + bool(each.level) for each in ranges]
    places = np.searchsorted(begins, crowded, side="right") - 1
    return [
        _within(ranges[place].level, start)
        for place, start in zip(places.tolist(), crowded.tolist(), strict=True)
    ]


def _within(level: int, start: int) -> Range:
    """What a bucket is made of: rows, or buckets of the level below."""
    if level == 1:
        return Range(0, start, start + BASE - 1)
    first = (start - 1) // width_of(level - 1)
    return Range(level - 1, first, first + FACTOR - 1)
