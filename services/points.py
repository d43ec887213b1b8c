"""The newest points of jobs' losses, for those who watch: rows while they are few, else a curve."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from foundation.logging import get_logger
from models.domain.errors import ArchiveAway, ArchiveSpoilt
from services.aggregates import Bools, Floats
from services.archive import Archives
from services.curves import CurveQuery, read_curve

log = get_logger("services")

SERIES = "loss"
MOST_POINTS = 500
"""At once: what is longer is drawn with that many."""


class Stretch(NamedTuple):
    """A part of a job's book: iterations `first` to `last`; none where `last` is before `first`."""

    job_id: UUID
    job_key: int
    first: int
    last: int

    @property
    def is_short(self) -> bool:
        return self.last - self.first < MOST_POINTS


@dataclass(frozen=True, slots=True)
class Points:
    """Buckets in the order of their iterations: each one's first, its rows, and their extremes.

    `min`, `mean` and `max` are over the finite ones; None where there is none.
    """

    first: int
    last: int
    bucket: int
    iteration: Sequence[int]
    count: Sequence[int]
    non_finite: Sequence[int]
    min: Sequence[float | None]
    mean: Sequence[float | None]
    max: Sequence[float | None]


def read_points(
    connection: Connection, stretches: Sequence[Stretch], archives: Archives
) -> list[Points | None]:
    """Read each stretch as at most MOST_POINTS points; None where it is empty.

    None, too, where its rows lie in a file that can't be read: that is told to who asks for them.
    """
    # One statement for those who were told of the others a moment ago, however many jobs these are.
    rows = iter(_read_rows(connection, [each for each in stretches if each.is_short]))
    return [
        _of_short(connection, each, next(rows), archives)
        if each.is_short
        else _drawn(connection, each, archives)
        for each in stretches
    ]


def _of_short(
    connection: Connection,
    stretch: Stretch,
    rows: Sequence[tuple[int, float]],
    archives: Archives,
) -> Points | None:
    if len(rows) == stretch.last - stretch.first + 1:
        return _of_rows(stretch, rows)
    # Not in the table, or being removed from it: the job is archived.
    return _drawn(connection, stretch, archives)


_ROWS = text("""
    SELECT stretch.place, booked.iteration, booked.loss
    FROM unnest(CAST(:keys AS bigint[]), CAST(:firsts AS bigint[]), CAST(:lasts AS bigint[]))
        WITH ORDINALITY AS stretch (job_key, first, last, place)
    CROSS JOIN LATERAL (
        SELECT iteration, loss FROM iterations
        WHERE iterations.job_key = stretch.job_key
            AND iterations.iteration BETWEEN stretch.first AND stretch.last
    ) AS booked
    ORDER BY stretch.place, booked.iteration
""")


def _read_rows(
    connection: Connection, stretches: Sequence[Stretch]
) -> list[list[tuple[int, float]]]:
    found: list[list[tuple[int, float]]] = [[] for _ in stretches]
    if any(each.first <= each.last for each in stretches):
        _, keys, firsts, lasts = (list(each) for each in zip(*stretches, strict=True))
        for place, iteration, loss in connection.execute(
            _ROWS, {"keys": keys, "firsts": firsts, "lasts": lasts}
        ):
            found[place - 1].append((iteration, loss))
    return found


def _of_rows(stretch: Stretch, rows: Sequence[tuple[int, float]]) -> Points | None:
    if not rows:
        return None
    finite = [loss if math.isfinite(loss) else None for _, loss in rows]
    return Points(
        first=stretch.first,
        last=stretch.last,
        bucket=1,
        iteration=[iteration for iteration, _ in rows],
        count=[1] * len(rows),
        non_finite=[int(loss is None) for loss in finite],
        min=finite,
        mean=finite,
        max=finite,
    )


def _drawn(connection: Connection, stretch: Stretch, archives: Archives) -> Points | None:
    if stretch.first > stretch.last:
        return None
    query = CurveQuery(SERIES, stretch.first, stretch.last, MOST_POINTS)
    try:
        curve = read_curve(connection, stretch.job_id, query, archives)
    except (ArchiveSpoilt, ArchiveAway) as failure:
        log.warning("points.unreadable", job_id=str(stretch.job_id), reason=str(failure))
        return None
    parts = curve.parts
    if not parts.buckets:
        return None
    nothing = parts.without_finite
    return Points(
        first=stretch.first,
        last=stretch.last,
        bucket=curve.bucket,
        iteration=parts.first.tolist(),
        count=parts.count.tolist(),
        non_finite=parts.non_finite.tolist(),
        min=_with_nulls(parts.min, nothing),
        mean=_with_nulls(curve.mean(), nothing),
        max=_with_nulls(parts.max, nothing),
    )


def _with_nulls(values: Floats, nothing: Bools) -> list[float | None]:
    return [
        None if empty else value
        for value, empty in zip(values.tolist(), nothing.tolist(), strict=True)
    ]
