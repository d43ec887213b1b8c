"""Lists of jobs, a page at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import ARRAY, BigInteger, ColumnElement, Connection, Select, bindparam, func, select

from models.domain.search import Order, parse_orders
from models.tables import jobs
from services.cursors import decode_cursor, encode_cursor, list_name
from services.job_view import Document
from services.jobs import Part, job_items, select_jobs
from services.ordering import Rank, decode_position, encode_position, ranks_of, read_page
from services.selecting import Selection, bound_statements, joined

NEWEST_FIRST = parse_orders("-created_at")


@dataclass(frozen=True, slots=True)
class Listing:
    """Which jobs, and in which order.

    Attributes:
        parts: what the items hold beside what they always hold.

    """

    selection: Selection
    orders: Sequence[Order]
    parts: frozenset[Part] = frozenset()

    @property
    def name(self) -> str:
        """What a cursor of the list is bound to."""
        orders = [f"{'-' if order.descending else ''}{order.field}" for order in self.orders]
        return list_name("jobs", *self.selection.names, orders)

    def query(self) -> tuple[Select[Any], list[ColumnElement[bool]], list[Rank]]:
        """What its jobs are found by: the ranks' values alone, `rank_0` and so on; and clauses."""
        clauses = list(self.selection.clauses())
        ranks = ranks_of(self.orders, by_number=not self.selection.speaks_of_creation)
        values = [rank.column for rank in ranks[:-1]]
        tables, keys = joined([*clauses, *values])
        # An index on the first value goes on with the key in its own table; no other will do.
        _, own = joined(values[:1])
        key = own[0] if values else keys[0]
        ranks[-1] = ranks[-1].on(key, *(each for each in keys if each is not key))
        query = select(*(rank.column.label(f"rank_{n}") for n, rank in enumerate(ranks)))
        return query.select_from(tables), clauses, ranks


@dataclass(frozen=True, slots=True)
class JobPage:
    """What `JobList` shows, as it is written."""

    items: list[Document]
    next_cursor: str | None


def list_jobs(
    connection: Connection,
    listing: Listing,
    limit: int,
    cursor: str | None,
    statement_seconds: float,
) -> JobPage:
    """Read one page.

    Needs several statements: give it a snapshot, so that they agree.

    Args:
        connection: a transaction's.
        listing: which jobs, in which order.
        limit: how many at most.
        cursor: the page before's.
        statement_seconds: how long a statement may take.

    Raises:
        CursorInvalid: the cursor is not one of this list.

    """
    query, clauses, ranks = listing.query()
    after = None if cursor is None else decode_position(ranks, decode_cursor(listing.name, cursor))
    bound_statements(connection, statement_seconds)
    found = read_page(connection, query, clauses, ranks, after=after, limit=limit + 1)
    page = found[:limit]
    more = len(found) > limit
    return JobPage(
        items=_items(connection, [row[-1] for row in page], listing.parts),
        next_cursor=encode_cursor(listing.name, encode_position(page[-1])) if more else None,
    )


@cache
def _of_page(parts: frozenset[Part]) -> Select[Any]:
    """Made once: SQLAlchemy ties knots into a list of its own, which only a collection undoes."""
    keys = bindparam("keys", type_=ARRAY(BigInteger))
    return select_jobs(parts).where(jobs.c.key == func.any(keys))


def _items(connection: Connection, keys: Sequence[int], parts: frozenset[Part]) -> list[Document]:
    """Only the page's own jobs are read whole, in the order of their keys."""
    rows = connection.execute(_of_page(parts), {"keys": list(keys)}).all()
    place = {key: index for index, key in enumerate(keys)}
    return job_items(connection, sorted(rows, key=lambda row: place[row.key]), parts)
