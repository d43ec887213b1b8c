"""Lists of jobs, a page at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, false, or_

from models.domain.errors import CursorInvalid
from models.domain.lifecycle import State
from models.schemas.job import JobList
from models.tables import jobs
from services.cursors import decode_cursor, encode_cursor, list_name
from services.jobs import Part, job_items, select_jobs

LONGEST_KEY = 200


@dataclass(frozen=True, slots=True)
class Listing:
    """Which jobs, and in which order.

    Attributes:
        states: any of these; all where there is none.
        tags: each of these, "key:value"; where there are more colons, either part may hold them.
        newest_first: by `created_at`, downwards.
        parts: what the items hold beside what they always hold.

    """

    project: str | None = None
    states: Sequence[State] = ()
    tags: Sequence[str] = ()
    newest_first: bool = True
    parts: frozenset[Part] = frozenset()

    @property
    def name(self) -> str:
        """What a cursor of the list is bound to."""
        states = sorted(set(self.states))
        return list_name("jobs", self.project, states, sorted(self.tags), self.newest_first)


def list_jobs(connection: Connection, listing: Listing, limit: int, cursor: str | None) -> JobList:
    """Read one page.

    Jobs are numbered as they are made, so their number is the order of `created_at`.

    Raises:
        CursorInvalid: the cursor is not one of this list.

    """
    query = _selected(listing)
    if cursor is not None:
        after = _position(listing, cursor)
        query = query.where(jobs.c.key < after if listing.newest_first else jobs.c.key > after)
    rows = connection.execute(query.limit(limit + 1)).all()
    page = rows[:limit]
    more = len(rows) > limit
    return JobList(
        items=job_items(connection, page, listing.parts),
        next_cursor=encode_cursor(listing.name, page[-1].key) if more else None,
    )


def _selected(listing: Listing) -> Select[Any]:
    query = select_jobs(listing.parts)
    if listing.project is not None:
        query = query.where(jobs.c.project == listing.project)
    if listing.states:
        query = query.where(jobs.c.state.in_(listing.states))
    for tag in listing.tags:
        query = query.where(or_(false(), *(jobs.c.tags.contains(pair) for pair in _readings(tag))))
    return query.order_by(jobs.c.key.desc() if listing.newest_first else jobs.c.key)


def _readings(tag: str) -> list[dict[str, str]]:
    """Every pair that "key:value" may stand for; a key has a length that bounds them."""
    colons = [place for place, character in enumerate(tag[: LONGEST_KEY + 1]) if character == ":"]
    return [{tag[:place]: tag[place + 1 :]} for place in colons]


def _position(listing: Listing, cursor: str) -> int:
    position = decode_cursor(listing.name, cursor)
    if isinstance(position, bool) or not isinstance(position, int) or position >= 2**63:
        raise CursorInvalid
    return position
