"""The events of a project as they happen, in the order of their transactions.

A number of a sequence would order them by when they were written, and who comes to the end first
would skip what another is still writing. So the order is (transaction, job, number), and only
transactions older than every one that still runs are read: nothing can come before them any more.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, text

from models.schemas.readings import ProjectEvent

MOST_EVENTS = 200


class Point(NamedTuple):
    """A place in that order: everything up to it was told. Transactions are xid8, in text."""

    xid: str
    job_key: int = 0
    number: int = 0


class Happened(NamedTuple):
    """What has happened since a point.

    Args:
        events: each with the point behind it.
        whole: nothing that can be told now is left.
        held_back: more is written, and waits for an older transaction to end.
        point: the one up to which nothing will come any more.

    """

    events: Sequence[tuple[ProjectEvent, Point]]
    whole: bool
    held_back: bool
    point: Point


class Horizon(NamedTuple):
    """How far a snapshot can be told of.

    Args:
        oldest: the oldest transaction that still runs, or the next one.
        next: the next one that will begin.

    """

    oldest: str
    next: str

    @property
    def point(self) -> Point:
        return Point(self.oldest)


def find_horizon(connection: Connection) -> Horizon:
    """Ask how far the snapshot of the transaction can be told of."""
    return Horizon(*connection.execute(_HORIZON).one())


def read_happened(
    connection: Connection, followed: Sequence[tuple[str | None, Point]]
) -> list[Happened]:
    """Read what has happened in each project (None: in all) since a point, in a snapshot."""
    oldest = find_horizon(connection).oldest
    held_back = bool(connection.scalar(_HELD_BACK, {"oldest": oldest}))
    return [
        _read(connection, project, since, oldest, held_back=held_back)
        for project, since in followed
    ]


_HORIZON = text("""
    SELECT CAST(pg_snapshot_xmin(now) AS text) AS oldest,
        CAST(pg_snapshot_xmax(now) AS text) AS next
    FROM pg_current_snapshot() AS now
""")

_HELD_BACK = text("SELECT EXISTS (SELECT FROM events WHERE xid >= CAST(:oldest AS xid8))")

_HAPPENED = text("""
    SELECT events.id, events.at, events.type, events.attempt, events.data,
        CAST(jobs.id AS text) AS job, CAST(events.xid AS text) AS xid, events.job_key
    FROM events JOIN jobs ON jobs.key = events.job_key
    WHERE events.xid < CAST(:oldest AS xid8)
        AND (events.xid, events.job_key, events.id)
            > (CAST(:xid AS xid8), CAST(:job_key AS bigint), CAST(:number AS bigint))
        AND (CAST(:project AS text) IS NULL OR jobs.project = :project)
    ORDER BY events.xid, events.job_key, events.id
    LIMIT :most
""")


def _read(
    connection: Connection, project: str | None, since: Point, oldest: str, *, held_back: bool
) -> Happened:
    rows = connection.execute(
        _HAPPENED, {**since._asdict(), "oldest": oldest, "project": project, "most": MOST_EVENTS}
    ).all()
    events = [
        (ProjectEvent.model_validate(row), Point(row.xid, row.job_key, row.id)) for row in rows
    ]
    whole = len(rows) < MOST_EVENTS
    # What lies between the last of these and the horizon belongs to other projects.
    point = max(since, Point(oldest), key=_order) if whole else events[-1][1]
    return Happened(events, whole, held_back, point)


def _order(point: Point) -> tuple[int, int, int]:
    return int(point.xid), point.job_key, point.number
