"""The newest points of jobs' losses, for those who watch: rows while they are few, else a curve."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from foundation.logging import get_logger
from models.domain.errors import ArchiveAway, ArchiveSpoilt
from services.aggregates import Bools, Floats
from services.archive import Archives
from services.curves import CurveQuery, read_curve
from services.turns import Turn

log = get_logger("services")

SERIES = "loss"
MOST_POINTS = 500
"""At once: what is longer is drawn with that many."""
MOST_ROWS = 50_000
"""Of all stretches that are read together."""
TURN_SECONDS = 0.1
"""For all curves that are drawn in one look."""


class Stretch(NamedTuple):
    """A part of a job's book: iterations `first` to `last`; none where `last` is before `first`."""

    job_id: UUID
    job_key: int
    first: int
    last: int
    archived: bool = False

    @property
    def is_in_table(self) -> bool:
        """Whether its rows are read, and there."""
        return self.last - self.first < MOST_POINTS and not self.archived


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


class Reading(NamedTuple):
    """What was read of a stretch.

    Args:
        points: None where it is empty or left, or its rows lie in a file that can't be read: that
            is told to who asks for them.
        left: there was no time for it; it is to be read in another look.
        in_file: it is left because its rows lie in a file.

    """

    points: Points | None = None
    left: bool = False
    in_file: bool = False


def read_points(
    connection: Connection, stretches: Sequence[Stretch], archives: Archives, *, files: bool
) -> list[Reading]:
    """Read each stretch as at most MOST_POINTS points, as far as there is time and room.

    Args:
        connection: a snapshot.
        stretches: of which jobs, and what.
        archives: where the rows of archived jobs are.
        files: whether to read them there; a store may be slow, or hang.

    """
    # One statement for those who were told of the others a moment ago, however many jobs these are.
    short = list(_that_fit(stretches))
    rows = dict(zip(short, _read_rows(connection, [stretches[at] for at in short]), strict=True))
    turn = Turn(TURN_SECONDS)
    found = []
    for place, stretch in enumerate(stretches):
        if stretch.first > stretch.last:
            found.append(Reading())
        elif stretch.archived and not files:
            found.append(Reading(left=True, in_file=True))
        elif len(rows.get(place, ())) == stretch.last - stretch.first + 1:
            found.append(Reading(_of_rows(stretch, rows[place])))
        elif (stretch.is_in_table and place not in rows) or not turn.has_room():
            found.append(Reading(left=True))
        else:
            # Too long, or archived.
            found.append(Reading(_drawn(connection, stretch, archives)))
    return found


def _that_fit(stretches: Sequence[Stretch]) -> Iterator[int]:
    """The places of stretches whose rows are read together."""
    room = MOST_ROWS
    for place, stretch in enumerate(stretches):
        if stretch.is_in_table and room > 0 and stretch.first <= stretch.last:
            room -= stretch.last - stretch.first + 1
            yield place


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
    if stretches:
        asked = {
            "keys": [each.job_key for each in stretches],
            "firsts": [each.first for each in stretches],
            "lasts": [each.last for each in stretches],
        }
        for place, iteration, loss in connection.execute(_ROWS, asked):
            found[place - 1].append((iteration, loss))
    return found


def _of_rows(stretch: Stretch, rows: Sequence[tuple[int, float]]) -> Points:
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
