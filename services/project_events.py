"""The events of a project, as they happen or a page of them, in the order of their transactions.

A number of a sequence would order them by when they were written, and who comes to the end first
would skip what another is still writing. So the order is (transaction, job, number), and only
transactions older than every one that still runs are read: nothing can come before them any more.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, text

from models.domain.errors import CursorInvalid
from models.schemas.readings import ProjectEvent, ProjectEventList
from services.cursors import are_counts, decode_cursor, encode_cursor, is_xid, list_name
from services.turns import Turn

MOST_EVENTS = 200
MOST_SCANNED = 5_000
"""Events that are gone through at once: some are of other projects, or of deleted jobs."""
TURN_SECONDS = 0.1
"""For all who follow, as far as they do not stand at the same point."""
PAGE_SECONDS = 0.25
"""For one page, which has the events that were found by then."""


class Point(NamedTuple):
    """A place in that order: everything up to it was told. Transactions are xid8, in text."""

    xid: str
    job_key: int = 0
    number: int = 0


class Happened(NamedTuple):
    """What has happened since a point.

    Args:
        events: each with the point behind it; there may be none, and still more to come.
        whole: nothing that can be told now is left.
        point: the one up to which nothing will come any more.
        held_back: more is written, and waits for an older transaction to end.

    """

    events: Sequence[tuple[ProjectEvent, Point]]
    whole: bool
    point: Point
    held_back: bool = False


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
    """Read what has happened in each project (None: in all) since a point, in a snapshot.

    As far as there is time: the others are told at their point that there is more.
    """
    oldest = find_horizon(connection).oldest
    held_back = bool(connection.scalar(_HELD_BACK, {"oldest": oldest}))
    turn = Turn(TURN_SECONDS)
    return [
        _read(connection, project, since, oldest, MOST_EVENTS)._replace(held_back=held_back)
        if turn.has_room()
        else Happened([], whole=False, point=since, held_back=held_back)
        for project, since in followed
    ]


def list_all_events(
    connection: Connection, project: str | None, limit: int, cursor: str | None
) -> ProjectEventList:
    """Read a page of the events of all jobs (of one project), in a snapshot.

    Only those below the oldest transaction that still runs: a younger one may commit before an
    older one, and a reader who had gone past the older would never see its events. What lies
    between a project's events is gone through for so long at once, and then there is a cursor,
    however few were found.

    Raises:
        CursorInvalid: the cursor is not one of this list.

    """
    name = list_name("events", project)
    point = _START if cursor is None else _place(name, cursor)
    oldest = find_horizon(connection).oldest
    found: list[tuple[ProjectEvent, Point]] = []
    whole, turn = False, Turn(PAGE_SECONDS)
    while not whole and len(found) <= limit and turn.has_room():
        read, whole, point, _ = _read(connection, project, point, oldest, limit + 1 - len(found))
        found += read
    if len(found) > limit:
        whole, point = False, found[limit - 1][1]
    return ProjectEventList(
        items=[happened for happened, _ in found[:limit]],
        next_cursor=None if whole else encode_cursor(name, list(point)),
    )


_START = Point("0")

_HORIZON = text("""
    SELECT CAST(pg_snapshot_xmin(now) AS text) AS oldest,
        CAST(pg_snapshot_xmax(now) AS text) AS next
    FROM pg_current_snapshot() AS now
""")

_HELD_BACK = text("SELECT EXISTS (SELECT FROM events WHERE xid >= CAST(:oldest AS xid8))")

# Whatever the planner believes of the project: so many entries of one index are read, in order.
_HAPPENED = text("""
    SELECT events.id, events.at, events.type, events.attempt, events.data, found.job,
        CAST(events.xid AS text) AS xid, events.job_key
    FROM (
        SELECT scanned.job_key, scanned.id, CAST(jobs.id AS text) AS job
        FROM (
            SELECT xid, job_key, id FROM events
            WHERE xid < CAST(:oldest AS xid8)
                AND (xid, job_key, id)
                    > (CAST(:xid AS xid8), CAST(:job_key AS bigint), CAST(:number AS bigint))
            ORDER BY xid, job_key, id
            LIMIT :scanned
        ) AS scanned JOIN jobs ON jobs.key = scanned.job_key
        WHERE CAST(:project AS text) IS NULL OR jobs.project = :project
        ORDER BY scanned.xid, scanned.job_key, scanned.id
        LIMIT :most
    ) AS found JOIN events ON events.job_key = found.job_key AND events.id = found.id
    ORDER BY events.xid, events.job_key, events.id
""")

_REACHED = text("""
    SELECT CAST(xid AS text) AS xid, job_key, id FROM events
    WHERE xid < CAST(:oldest AS xid8)
        AND (xid, job_key, id)
            > (CAST(:xid AS xid8), CAST(:job_key AS bigint), CAST(:number AS bigint))
    ORDER BY events.xid, job_key, id
    OFFSET :scanned - 1 LIMIT 1
""")


def _read(
    connection: Connection, project: str | None, since: Point, oldest: str, most: int
) -> Happened:
    stretch = {**since._asdict(), "oldest": oldest, "scanned": MOST_SCANNED}
    asked = {**stretch, "project": project, "most": most}
    rows = connection.execute(_HAPPENED, asked).all()
    events = [
        (ProjectEvent.model_validate(row), Point(row.xid, row.job_key, row.id)) for row in rows
    ]
    if len(rows) == most:
        return Happened(events, whole=False, point=events[-1][1])
    reached = connection.execute(_REACHED, stretch).one_or_none()
    if reached is not None:
        return Happened(events, whole=False, point=Point(*reached))
    # What lies between the last of these and the horizon is nothing that is told here.
    point = max(since, Point(oldest), key=_order)
    return Happened(events, whole=True, point=point)


def _place(name: str, cursor: str) -> Point:
    match decode_cursor(name, cursor):
        case [str(xid), int(key), int(number)] if is_xid(xid) and are_counts(key, number):
            return Point(xid, key, number)
        case _:
            raise CursorInvalid


def _order(point: Point) -> tuple[int, int, int]:
    return int(point.xid), point.job_key, point.number
