"""The order of a list, and where its next page begins.

A cursor holds the values of the last job of a page, not how many jobs came before it: so jobs
that are added, or whose own values change, move nobody else. Null comes last, up and down; the
job's number breaks ties, and goes the way of the first field.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import JsonValue
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    false,
    func,
    or_,
    tuple_,
)

from models.domain.errors import CursorInvalid
from models.domain.numbers import NOT_FINITE, number_or_word
from models.domain.search import Field, Kind, Order
from models.tables import jobs, summaries
from services.columns import LONGEST_TEXT, by_code_point, column_of, may_be_null, sortable_json
from services.filtering import bound

_LONG = frozenset({("notes",), ("error", "message"), ("error", "type")})


@dataclass(frozen=True)
class Rank:
    """One of the values that a list is ordered by.

    Attributes:
        twins: of joined tables, columns that are equal to this one.

    """

    column: ColumnElement[Any]
    kind: Kind
    descending: bool
    nullable: bool
    twins: Sequence[ColumnElement[Any]] = ()

    @property
    def indexed(self) -> bool:
        """Whether there is an index that begins with it."""
        return any(self.column is column for column in _INDEXED)

    def on(self, column: ColumnElement[Any], *twins: ColumnElement[Any]) -> "Rank":
        return replace(self, column=column, twins=twins)

    def ordered(self) -> ColumnElement[Any]:
        """The expression of ORDER BY, with null last."""
        way = self.column.desc() if self.descending else self.column.asc()
        # Up, null is last by itself; only said where it matters, an index goes without it.
        return way.nulls_last() if self.descending and self.nullable else way

    def later(self, value: object) -> ColumnElement[bool]:
        """Whether a row comes after one that has this value."""
        if value is None:
            return false()
        at = self.at(value)
        beyond = self.column < at if self.descending else self.column > at
        return or_(beyond, self.column.is_(None)) if self.nullable else beyond

    def from_(self, value: object) -> ColumnElement[bool]:
        """Whether a row that has a value has this one or a later one."""
        return self.column <= self.at(value) if self.descending else self.column >= self.at(value)

    def same(self, value: object) -> ColumnElement[bool]:
        return self.column.is_(None) if value is None else self.column == self.at(value)

    def at(self, value: object) -> ColumnElement[Any]:
        return bound(self.kind, value)


Position = Sequence[Any]
"""The ranks' values of a row, the last being its key."""


def ranks_of(orders: Sequence[Order], *, by_number: bool) -> list[Rank]:
    """What rows are ordered by; the job's number is always the last.

    Args:
        orders: what was asked for.
        by_number: whether the numbers of jobs stand for the times when they were made. That is
            what the indexes on state and project go on with; a list that is filtered by these
            times is read from the index on them.

    """
    ranks: list[Rank] = []
    for order in orders:
        if by_number and order.field.path == ("created_at",):
            # Nothing comes after what no two share.
            return [*ranks, _key(descending=order.descending)]
        ranks.append(rank_of(order.field, descending=order.descending))
    return [*ranks, _key(descending=ranks[0].descending)]


def rank_of(field: Field, *, descending: bool = False) -> Rank:
    return Rank(sortable(field), field.kind, descending, may_be_null(field))


def sortable(field: Field) -> ColumnElement[Any]:
    """The field as lists are ordered and grouped by it: of a bounded length.

    In `spec` and `plan` that is: strings before numbers before false and true; an object or a
    list as its JSON text.
    """
    if field.kind is Kind.JSON:
        return sortable_json(field)
    column = column_of(field)
    if field.kind is Kind.TAG or field.path in _LONG:
        return by_code_point(func.left(column, LONGEST_TEXT))
    return column


def read_page(
    connection: Connection,
    query: Select[Any],
    clauses: Sequence[ColumnElement[bool]],
    ranks: Sequence[Rank],
    *,
    after: Position | None,
    limit: int,
) -> Sequence[Row[Any]]:
    """Read the rows that fulfil all clauses and come after a position, in order.

    Where the first rank has an index, rows that have it and rows that have not are asked for
    apart: one index then gives both, up and down.
    """
    first = ranks[0]
    if not (first.indexed and first.nullable):
        return connection.execute(_after(query, clauses, ranks, after).limit(limit)).all()
    rows: list[Row[Any]] = []
    if after is None or after[0] is not None:
        known = [replace(first, nullable=False), *ranks[1:]]
        has_it = [*clauses, first.column.is_not(None)]
        rows += connection.execute(_after(query, has_it, known, after).limit(limit)).all()
        after = None
    if len(rows) < limit:
        has_not = [*clauses, first.column.is_(None)]
        rest = _after(query, has_not, ranks[1:], after and after[1:])
        rows += connection.execute(rest.limit(limit - len(rows))).all()
    return rows


def encode_position(values: Position) -> JsonValue:
    return [shown(value) for value in values]


def decode_position(ranks: Sequence[Rank], payload: JsonValue) -> Position:
    """Read what `encode_position` wrote.

    Raises:
        CursorInvalid: it is something else.

    """
    if not isinstance(payload, list) or len(payload) != len(ranks):
        raise CursorInvalid
    return [_read(rank, value) for rank, value in zip(ranks, payload, strict=True)]


def shown(value: object) -> JsonValue:
    """A rank's value in JSON."""
    match value:
        case float():
            return number_or_word(value)
        case datetime():
            return value.isoformat()
        case UUID():
            return str(value)
        case None | bool() | int() | str():
            return value
    raise TypeError(f"no rank has a {type(value).__name__}")


_INDEXED = (
    jobs.c.started_at,
    jobs.c.finished_at,
    *(column for column in summaries.c if column.name.endswith(("_loss", "_accuracy", "_value"))),
)


def _key(*, descending: bool) -> Rank:
    return Rank(jobs.c.key, Kind.INTEGER, descending, nullable=False)


def _after(
    query: Select[Any],
    clauses: Sequence[ColumnElement[bool]],
    ranks: Sequence[Rank],
    after: Position | None,
) -> Select[Any]:
    """A position comes before the clauses: of several bounds an index is entered by the first."""
    if after is not None:
        query = query.where(_follows(ranks, after), *_said_again(ranks, after))
    return query.where(*clauses).order_by(*(rank.ordered() for rank in ranks))


def _follows(ranks: Sequence[Rank], after: Position) -> ColumnElement[bool]:
    first, *rest = ranks
    later = first.later(after[0])
    if not rest:
        return later
    if _is_row(ranks):
        return _row_follows(first, rest[0], after)
    return or_(later, and_(first.same(after[0]), _follows(rest, after[1:])))


def _said_again(ranks: Sequence[Rank], after: Position) -> Iterator[ColumnElement[bool]]:
    """What follows from the position for single columns, so that their indexes are entered there.

    A join of two tables by the job's number walks both from their beginning unless each is told.
    """
    first, *rest = ranks
    if not rest:
        yield from (first.on(twin).later(after[0]) for twin in first.twins)
    elif not (first.nullable or _is_row(ranks)):
        yield first.from_(after[0])


def _is_row(ranks: Sequence[Rank]) -> bool:
    """Whether a value and the job's number are all, never null, and go the same way."""
    same_way = len({rank.descending for rank in ranks}) == 1
    return len(ranks) == 2 and same_way and not any(rank.nullable for rank in ranks)  # noqa: PLR2004


def _row_follows(first: Rank, key: Rank, after: Position) -> ColumnElement[bool]:
    """Compare both at once: an index is entered among jobs that share the first value, too."""
    mine = tuple_(first.column, key.column)
    other = tuple_(first.at(after[0]), key.at(after[1]))
    return mine < other if first.descending else mine > other


def _read(rank: Rank, value: JsonValue) -> object:
    if value is None:
        if rank.nullable:
            return None
        raise CursorInvalid
    try:
        return _of_kind(rank.kind, value)
    except ValueError:
        raise CursorInvalid from None


def _of_kind(kind: Kind, value: JsonValue) -> object:
    """Raises ValueError for a value that is none of the kind."""
    types, make = _KINDS[kind]
    if type(value) not in types:
        raise ValueError(f"not {kind}")
    return make(value)


def _number(value: Any) -> float:  # noqa: ANN401 - a word or a number
    return NOT_FINITE[value] if value in NOT_FINITE else float(value)


def _integer(value: int) -> int:
    if abs(value) >= 2**63:
        raise ValueError("longer than 64 bits")
    return value


_KINDS: Mapping[Kind, tuple[Collection[type], Callable[[Any], object]]] = {
    Kind.INTEGER: ({int}, _integer),
    Kind.NUMBER: ({int, float, str}, _number),
    Kind.TEXT: ({str}, str),
    Kind.WORD: ({str}, str),
    Kind.TAG: ({str}, str),
    Kind.BOOLEAN: ({bool}, bool),
    Kind.MOMENT: ({str}, datetime.fromisoformat),
    Kind.ID: ({str}, UUID),
    Kind.JSON: ({str, bool, int, float}, lambda value: value),
}
"""What a cursor may hold for each kind, and what is made of it."""
