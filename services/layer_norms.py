"""Readings of layers in ranges of iterations, of many jobs at once, from their table.

So many ranges go into a statement as have few enough rows: a share of the error takes the
readings of all layers.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from sqlalchemy import Connection

from services.layers import shares_of
from services.packed import Arrays, Columns, Series, nulls_of, packed_fields, read_arrays
from services.parts import Parts, in_buckets, points_of

SHARE = "error_share"
OF_SHARES = ("iteration", "position", "error_norm")
MOST_ROWS = 1_000_000
"""In one statement, if each job measures in the rhythm of its spec."""


class NormRange(NamedTuple):
    """A layer's readings from iteration `first` to `last`.

    Attributes:
        layers: how many there are.
        every: measured each so many iterations.
        width: they are joined into buckets of so many iterations; 1: they are not.

    """

    job_key: int
    position: int
    first: int
    last: int
    layers: int
    every: int
    width: int = 1

    def rows(self, norm: str) -> int:
        """How many rows are to be read."""
        readings = (self.last - self.first) // self.every + 2
        return readings * self.layers if norm == SHARE else readings

    def joined(self, readings: Parts) -> Parts:
        return readings if self.width == 1 else in_buckets(readings, self.width)


_NORM = (("place", ">i8"), ("iteration", ">i8"), ("value", ">f8"))
_NORMS = sql.SQL("""
    SELECT {arrays} FROM (
        SELECT wanted.place, found.*
        FROM unnest(%(jobs)s::bigint[], %(positions)s::smallint[], %(firsts)s::bigint[],
            %(lasts)s::bigint[])
            WITH ORDINALITY AS wanted (job, "position", first, last, place),
        LATERAL (
            SELECT iteration, {norm} AS value FROM layer_readings
            WHERE job_key = wanted.job AND iteration BETWEEN wanted.first AND wanted.last
                AND "position" = wanted.position AND {norm} IS NOT NULL
            ORDER BY iteration LIMIT wanted.last - wanted.first + 1
        ) AS found
        ORDER BY wanted.place, found.iteration
    ) AS readings
""")
_ERROR = (
    ("place", ">i8"),
    ("iteration", ">i8"),
    ("position", ">i2"),
    ("error_norm", ">f8"),
    ("missing", ">i1"),
)
_ERRORS = sql.SQL("""
    SELECT {arrays} FROM (
        SELECT wanted.place, found.*
        FROM unnest(%(jobs)s::bigint[], %(firsts)s::bigint[], %(lasts)s::bigint[])
            WITH ORDINALITY AS wanted (job, first, last, place),
        LATERAL (
            SELECT iteration, "position", coalesce(error_norm, 0) AS error_norm,
                error_norm IS NULL AS missing
            FROM layer_readings
            WHERE job_key = wanted.job AND iteration BETWEEN wanted.first AND wanted.last
            ORDER BY iteration, "position" LIMIT (wanted.last - wanted.first + 1) * 32768
        ) AS found
        ORDER BY wanted.place, found.iteration, found."position"
    ) AS readings
""")


def read_norms(connection: Connection, norm: str, wanted: Sequence[NormRange]) -> list[Parts]:
    """Read the values of one of LAYER_NORMS, range by range."""
    read = _read_shares if norm == SHARE else _read_stored
    return [
        parts for batch in _batches(wanted, norm) for parts in read(connection, norm, list(batch))
    ]


def of_layer(found: Columns, norms: Series, position: int) -> Parts:
    """Pick one layer's values out of readings of several layers."""
    mine = (found["position"].values == position) & ~nulls_of(norms)
    return points_of(found["iteration"].values[mine], norms.values[mine])


def _batches(wanted: Sequence[NormRange], norm: str) -> Iterator[Sequence[NormRange]]:
    batch: list[NormRange] = []
    rows = 0
    for each in wanted:
        rows += each.rows(norm)
        if batch and rows > MOST_ROWS:
            yield batch
            batch, rows = [], each.rows(norm)
        batch.append(each)
    if batch:
        yield batch


def _read_stored(connection: Connection, norm: str, wanted: Sequence[NormRange]) -> Iterator[Parts]:
    statement = _NORMS.format(arrays=packed_fields(_NORM), norm=sql.Identifier(norm))
    positions = {"positions": [each.position for each in wanted]}
    found = read_arrays(connection, statement, _NORM, _bounds(wanted) | positions)
    for each, mine in _of_each(wanted, found):
        yield each.joined(points_of(found["iteration"][mine], found["value"][mine]))


def _read_shares(connection: Connection, _: str, wanted: Sequence[NormRange]) -> Iterator[Parts]:
    statement = _ERRORS.format(arrays=packed_fields(_ERROR))
    found = read_arrays(connection, statement, _ERROR, _bounds(wanted))
    for each, mine in _of_each(wanted, found):
        columns = {name: Series(found[name][mine]) for name in OF_SHARES[:2]}
        missing: NDArray[np.bool_] = found["missing"][mine].astype(bool)
        columns["error_norm"] = Series(found["error_norm"][mine], missing)
        yield each.joined(of_layer(columns, shares_of(columns), each.position))


def _bounds(wanted: Sequence[NormRange]) -> dict[str, list[int]]:
    return {
        "jobs": [each.job_key for each in wanted],
        "firsts": [each.first for each in wanted],
        "lasts": [each.last for each in wanted],
    }


def _of_each(wanted: Sequence[NormRange], found: Arrays) -> Iterator[tuple[NormRange, slice]]:
    ends = np.searchsorted(found["place"], np.arange(len(wanted) + 1), side="right").tolist()
    for number, each in enumerate(wanted):
        yield each, slice(ends[number], ends[number + 1])
