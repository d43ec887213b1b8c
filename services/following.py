"""Following jobs while they run: what is new since some marks, for many jobs in one look.

A mark is how far somebody has followed a job. Who has the same mark gets the same news, so what a
look costs depends on how many marks there are, not on how many follow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import Connection, Row, TextClause, text

from models.schemas.readings import Event, LogLine
from services.archive import Archives
from services.points import Points, Stretch, read_points
from services.standing import Stand

Item = TypeVar("Item")

MOST_ITEMS = 200
MOST_ROWS = 2_000
"""Of events, and of log lines, that are read in one look: the more follow, the fewer each gets."""
MOST_CHARACTERS = 250_000
"""Of events or of log lines in one piece of news: some have long notes, or long texts."""


class Mark(NamedTuple):
    """How far a job was followed.

    Args:
        event: the number of the last event.
        rewinds: how often the job had gone back by then.
        iteration: the last one that stands for a point.
        line: the last log line; None where none are followed.

    """

    event: int = 0
    rewinds: int = 0
    iteration: int = 0
    line: int | None = None

    def after(self, event: Event) -> "Mark":
        """Where one is who has seen this event too: at a rewind the points behind it are gone."""
        if event.type != "rewound":
            return self._replace(event=event.id)
        kept = event.data.get("to")
        iteration = min(self.iteration, kept) if isinstance(kept, int) else 0
        return self._replace(event=event.id, rewinds=self.rewinds + 1, iteration=iteration)


class Followed(NamedTuple):
    """A job as a look finds it, and a mark that somebody has followed it to."""

    stand: Stand
    mark: Mark


@dataclass(frozen=True, slots=True)
class News:
    """What is new since a mark, in the order in which it is to be told.

    Attributes:
        points: only where no event is left out, as one of those may be a rewind.
        whole: nothing is left for another look.
        in_file: what is left are rows that lie in a file.

    """

    events: Sequence[Event]
    points: Points | None
    lines: Sequence[LogLine]
    whole: bool
    in_file: bool


def read_news(
    connection: Connection, followed: Sequence[Followed], archives: Archives, *, files: bool
) -> list[News]:
    """Read what is new for each, in a snapshot in which the stands were read too.

    Rows in files are left where `files` are not to be read.
    """
    events = _read_events(connection, followed)
    lines = _read_lines(connection, followed)
    points = read_points(
        connection,
        [_stretch(each, found) for each, found in zip(followed, events, strict=True)],
        archives,
        files=files,
    )
    return [
        News(
            happened.items,
            drawn.points,
            printed.items,
            whole=not (happened.cut or printed.cut or drawn.left),
            in_file=drawn.in_file,
        )
        for happened, drawn, printed in zip(events, points, lines, strict=True)
    ]


def can_be_at(connection: Connection, stand: Stand, mark: Mark) -> bool:
    """Whether one can have followed the job so far: no further than its book is written.

    Args:
        connection: the snapshot in which the stand was read.
        stand: the job's.
        mark: as a stranger may have made it up.

    """
    if mark.event > stand.last_event or (mark.line or 0) > stand.last_line:
        return False
    asked = {"key": stand.key, "event": mark.event}
    if mark.rewinds + connection.execute(_REWINDS_BEHIND, asked).scalar_one() != stand.rewinds:
        return False
    # A rewind that is still to be told takes back what is too much.
    return mark.rewinds < stand.rewinds or mark.iteration <= stand.iteration


class _Part(Generic[Item]):
    """The first of what is new, and whether there is more of it."""

    def __init__(self, items: list[Item], *, cut: bool) -> None:
        self.items, self.cut = items, cut


_REWINDS_BEHIND = text("""
    SELECT count(*) FROM events
    WHERE job_key = :key AND id > CAST(:event AS bigint) AND type = 'rewound'
""")

_EVENTS = text("""
    SELECT mark.place, event.id, event.at, event.type, event.attempt, event.data
    FROM unnest(CAST(:keys AS bigint[]), CAST(:numbers AS bigint[]))
        WITH ORDINALITY AS mark (job_key, number, place)
    CROSS JOIN LATERAL (
        SELECT * FROM events
        WHERE events.job_key = mark.job_key AND events.id > mark.number
        ORDER BY events.id LIMIT :most
    ) AS event
    ORDER BY mark.place, event.id
""")

_LINES = text("""
    SELECT mark.place, log.line, log.at, log.attempt, log.stream, log.text
    FROM unnest(CAST(:keys AS bigint[]), CAST(:numbers AS bigint[]))
        WITH ORDINALITY AS mark (job_key, number, place)
    CROSS JOIN LATERAL (
        SELECT * FROM logs
        WHERE logs.job_key = mark.job_key AND logs.line > mark.number
        ORDER BY logs.line LIMIT :most
    ) AS log
    ORDER BY mark.place, log.line
""")


def _read_events(connection: Connection, followed: Sequence[Followed]) -> list[_Part[Event]]:
    behind = [
        each.mark.event if each.mark.event < each.stand.last_event else None for each in followed
    ]
    found, most = _read(connection, _EVENTS, followed, behind)
    return [
        _bounded(each, most, Event.model_validate, lambda event: str(event.data)) for each in found
    ]


def _read_lines(connection: Connection, followed: Sequence[Followed]) -> list[_Part[LogLine]]:
    behind = [
        each.mark.line
        if each.mark.line is not None and each.mark.line < each.stand.last_line
        else None
        for each in followed
    ]
    found, most = _read(connection, _LINES, followed, behind)
    return [_bounded(each, most, LogLine.model_validate, lambda line: line.text) for each in found]


def _read(
    connection: Connection,
    query: TextClause,
    followed: Sequence[Followed],
    behind: Sequence[int | None],
) -> tuple[list[list[Row[Any]]], int]:
    """Read what is numbered higher than each has seen; nothing for those that have seen all.

    Returns:
        The rows, and how many there are at most for each.

    """
    found: list[list[Row[Any]]] = [[] for _ in followed]
    asked = [(place, number) for place, number in enumerate(behind) if number is not None]
    if not asked:
        return found, MOST_ITEMS
    most = max(1, min(MOST_ITEMS, MOST_ROWS // len(asked)))
    keys = [followed[place].stand.key for place, _ in asked]
    numbers = [number for _, number in asked]
    for row in connection.execute(query, {"keys": keys, "numbers": numbers, "most": most}):
        found[asked[row.place - 1][0]].append(row)
    return found, most


def _bounded(
    rows: Sequence[Row[Any]],
    most: int,
    make: Callable[[Row[Any]], Item],
    text_of: Callable[[Item], str],
) -> _Part[Item]:
    """Keep of the rows what is not too long together, and always the first."""
    items: list[Item] = []
    room = MOST_CHARACTERS
    for row in rows:
        item = make(row)
        room -= len(text_of(item))
        if room < 0 and items:
            return _Part(items, cut=True)
        items.append(item)
    return _Part(items, cut=len(rows) >= most)


def _stretch(followed: Followed, events: _Part[Event]) -> Stretch:
    """The iterations that are new once the events are told; none where more events are to come."""
    mark = reduce(Mark.after, events.items, followed.mark)
    last = 0 if events.cut else followed.stand.iteration
    stand = followed.stand
    return Stretch(stand.job_id, stand.key, mark.iteration + 1, last, stand.archived)
