"""Runs of rows drawn together: count, min, max and sum, with what is not finite counted apart.

Arrays may have leading axes (several series at once); the last one runs over rows, or buckets.
A sum is taken from left to right, sixteen rows and then four buckets at a time, so that it does
not depend on where the flushes were that brought the rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NOWHERE = 2**63 - 1
# Half of the largest float64: what rounding adds to a sum is less than the other half.
_LARGEST_SUM = np.finfo(np.float64).max / 2


@dataclass(frozen=True, slots=True)
class Aggregates:
    """A bucket a place.

    Attributes:
        first: the iteration of the first row that was counted; NOWHERE where none was.
        count: rows, those that are not finite too.
        non_finite: how many of them are NaN or infinite.
        min: of the finite ones; infinity where there is none.
        max: of the finite ones; minus infinity where there is none.
        sum: of the finite ones; it says nothing where it may be beyond a float64 (`mean`).

    """

    first: Ints
    count: Ints
    non_finite: Ints
    min: Floats
    max: Floats
    sum: Floats

    @property
    def buckets(self) -> int:
        return int(self.count.shape[-1])

    @property
    def without_finite(self) -> Bools:
        """Where `min` and `max` are of nothing."""
        nothing: Bools = self.count == self.non_finite
        return nothing

    def mean(self) -> Floats:
        """Return the mean of the finite rows of each bucket; NaN where there is none.

        Rounding may carry a mean past its smallest or largest row: it is held between them. Where
        so many rows of such a size may have a sum beyond a float64, in whatever order they are
        added, the mean is the middle between the smallest and the largest.
        """
        finite = self.count - self.non_finite
        with np.errstate(all="ignore"):
            size = np.maximum(np.abs(self.min), np.abs(self.max)) * finite
            means = np.clip(self.sum / finite, self.min, self.max)
            means = np.where(size > _LARGEST_SUM, self.min / 2 + self.max / 2, means)
        return np.where(finite == 0, np.nan, means)

    def part(self, places: slice | NDArray[Any]) -> "Aggregates":
        """Those of some buckets."""
        return self._each(lambda array: array[..., places])

    def of(self, series: int) -> "Aggregates":
        """Those of one series, where the first axis runs over several."""
        return self._each(lambda array: array[series])

    def at(self, series: NDArray[np.intp], buckets: NDArray[np.intp]) -> "Aggregates":
        """Single buckets of several series, as buckets of one."""
        return self._each(lambda array: array[series, buckets])

    def _each(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> "Aggregates":
        # Written out, as in `chained`: each flush does it a dozen times, to a handful of buckets.
        return Aggregates(
            change(self.first),
            change(self.count),
            change(self.non_finite),
            change(self.min),
            change(self.max),
            change(self.sum),
        )


def of_rows(iterations: Ints, values: Floats, present: Bools) -> Aggregates:
    """Take each row for a bucket of its own; one that is not present counts nothing.

    Args:
        iterations: of each row; of shape (rows,).
        values: of shape (…, rows).
        present: which values there are, of the same shape.

    """
    finite = np.isfinite(values) & present
    return Aggregates(
        first=np.where(present, iterations, NOWHERE),
        count=present.astype(np.int64),
        non_finite=(present & ~finite).astype(np.int64),
        min=np.where(finite, values, np.inf),
        max=np.where(finite, values, -np.inf),
        sum=np.where(finite, values, 0.0),
    )


def joined(parts: Aggregates, each: int) -> Aggregates:
    """Join every `each` buckets into one; their number is a multiple of it."""
    shape = (*parts.count.shape[:-1], -1, each)
    with np.errstate(over="ignore", invalid="ignore"):
        # `accumulate` adds one after the other; `sum` would add in pairs of pairs.
        sums = np.add.accumulate(parts.sum.reshape(shape), axis=-1)[..., -1]
    return Aggregates(
        first=np.minimum.reduce(parts.first.reshape(shape), axis=-1),
        count=np.add.reduce(parts.count.reshape(shape), axis=-1),
        non_finite=np.add.reduce(parts.non_finite.reshape(shape), axis=-1),
        min=np.minimum.reduce(parts.min.reshape(shape), axis=-1),
        max=np.maximum.reduce(parts.max.reshape(shape), axis=-1),
        sum=sums,
    )


def grouped(parts: Aggregates, starts: NDArray[np.intp]) -> Aggregates:
    """Join runs of buckets: each begins at one of `starts` and ends before the next.

    Args:
        parts: at least one bucket.
        starts: rising, the first is 0.

    """
    with np.errstate(over="ignore", invalid="ignore"):
        sums = np.add.reduceat(parts.sum, starts, axis=-1)
    return Aggregates(
        first=np.minimum.reduceat(parts.first, starts, axis=-1),
        count=np.add.reduceat(parts.count, starts, axis=-1),
        non_finite=np.add.reduceat(parts.non_finite, starts, axis=-1),
        min=np.minimum.reduceat(parts.min, starts, axis=-1),
        max=np.maximum.reduceat(parts.max, starts, axis=-1),
        sum=sums,
    )


def chained(several: Sequence[Aggregates]) -> Aggregates:
    """Put buckets one after the other."""
    return Aggregates(
        np.concatenate([each.first for each in several], axis=-1),
        np.concatenate([each.count for each in several], axis=-1),
        np.concatenate([each.non_finite for each in several], axis=-1),
        np.concatenate([each.min for each in several], axis=-1),
        np.concatenate([each.max for each in several], axis=-1),
        np.concatenate([each.sum for each in several], axis=-1),
    )
