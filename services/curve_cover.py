"""What a curve is read from: complete buckets where they are, finer ones and rows at the edges."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from services.rollups import BASE, TOP_LEVEL, width_of

FEWEST_POINTS = 2
MOST_POINTS = 10_000


@dataclass(frozen=True, slots=True)
class CurveSpan:
    """What of a job's book one curve is drawn from.

    Attributes:
        first, last: iterations; `last` is in the book already.
        points: how many at most.
        record: the spec's `record`.
        layers: the plan's layers by name, with the number of their parameters.

    """

    job_key: int
    first: int
    last: int
    points: int
    record: Mapping[str, Any]
    layers: Mapping[str, int]

    @property
    def rows(self) -> int:
        return max(0, self.last - self.first + 1)


class Range(NamedTuple):
    """Buckets `first` to `last` of a level, both included; level 0: iterations."""

    level: int
    first: int
    last: int


def level_for(first: int, last: int, points: int, base: int = BASE) -> int:
    """The finest level, from 1, whose buckets cut iterations `first` to `last` into `points`.

    A range that lies across a bucket's border is cut by it, so two points are the fewest.
    """
    level = 1
    while (last - 1) // width_of(level, base) - (first - 1) // width_of(level, base) >= points:
        level += 1
    return level


def cover(first: int, last: int, level: int, base: int = BASE) -> list[Range]:
    """Cover iterations `first` to `last`, each once, in order, with buckets of at most this level.

    It depends on the range alone: the same while the job runs and after it.
    """
    if first > last:
        return []
    if level == 0:
        return [Range(0, first, last)]
    level = min(level, TOP_LEVEL)
    width = width_of(level, base)
    begin, end = -(-(first - 1) // width), last // width
    if begin >= end:
        return cover(first, last, level - 1, base)
    return [
        *cover(first, begin * width, level - 1, base),
        Range(level, begin, end - 1),
        *cover(end * width + 1, last, level - 1, base),
    ]
