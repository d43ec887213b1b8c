"""Parts of a curve: buckets and single rows, in the order of what they begin with."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.aggregates import Aggregates, Floats, Ints, chained, grouped, of_rows

# Numbers of this size are summed up apart, and shrunk: so no sum of rows is beyond a float64.
LARGE = 1e290
SHRINK = 2.0**-64


class Parts(NamedTuple):
    """Buckets, and rows as buckets of one: `start` is the first iteration that one could hold."""

    start: Ints
    parts: Aggregates


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


def in_buckets(rows: Parts, width: int) -> Parts:
    """Join rows into buckets of a width, to the bits that services/row_groups.py comes to."""
    bucket = (rows.start - 1) // width
    starts = np.flatnonzero(np.diff(bucket, prepend=-1))
    if not len(starts):
        return rows
    places = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(bucket)))
    large = np.abs(rows.parts.sum) >= LARGE
    # One after the other: the last bits of a sum hang on the order.
    small_sums, large_sums = (
        np.bincount(places, weights=each).astype(np.float64)
        for each in (
            np.where(large, 0.0, rows.parts.sum),
            np.where(large, rows.parts.sum * SHRINK, 0.0),
        )
    )
    sums = sum_of(small_sums, large_sums)
    return Parts(bucket[starts] * width + 1, replace(grouped(rows.parts, starts), sum=sums))


def sum_of(small: Floats, large: Floats) -> Floats:
    """Put a sum together of that of small numbers and that of LARGE ones, which were shrunk."""
    with np.errstate(over="ignore"):
        sums: Floats = np.where(large == 0, small, small + large / SHRINK)
    return sums
