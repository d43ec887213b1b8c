"""Jobs by a field's value, with statistics of the numbers that came of them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Numeric,
    Row,
    cast,
    func,
    literal,
    select,
)
from sqlalchemy.exc import DataError
from sqlalchemy.types import TypeEngine

from models.domain.search import Field
from models.schemas.groups import JobGroup, JobGroups, Statistics, SummaryStatistics
from models.tables import summaries
from models.tables.metadata import Float64
from services.columns import SUMMARY_NUMBERS
from services.cursors import decode_cursor, encode_cursor, list_name
from services.ordering import decode_position, encode_position, rank_of, read_page, shown
from services.selecting import Selection, bound_statements, joined

OUT_OF_RANGE = "22003"


@dataclass(frozen=True, slots=True)
class Grouping:
    """Which jobs, and the field whose value each group of them shares."""

    selection: Selection
    field: Field

    @property
    def name(self) -> str:
        """What a cursor of the list is bound to."""
        return list_name("groups", *self.selection.names, str(self.field))


def group_jobs(
    connection: Connection,
    grouping: Grouping,
    limit: int,
    cursor: str | None,
    statement_seconds: float,
) -> JobGroups:
    """Read one page of groups, by their value, upwards; null last.

    Args:
        connection: a transaction's.
        grouping: which jobs, by which field.
        limit: how many groups at most.
        cursor: the page before's.
        statement_seconds: how long a statement may take.

    Raises:
        CursorInvalid: the cursor is not one of this list.

    """
    rank = rank_of(grouping.field)
    after = None
    if cursor is not None:
        after = decode_position([rank], decode_cursor(grouping.name, cursor))
    bound_statements(connection, statement_seconds)
    found = _read(connection, grouping, after, limit + 1)
    page = found[:limit]
    more = len(found) > limit
    return JobGroups(
        group_by=str(grouping.field),
        items=[_group(row) for row in page],
        next_cursor=encode_cursor(grouping.name, encode_position([page[-1].value]))
        if more
        else None,
    )


def _read(
    connection: Connection, grouping: Grouping, after: Sequence[Any] | None, limit: int
) -> Sequence[Row[Any]]:
    """Floats hold numbers whose squares they don't: then it is all worked out in digits, slowly."""
    try:
        with connection.begin_nested():
            return _page(connection, grouping, after, limit, Float64)
    except DataError as error:
        if getattr(error.orig, "sqlstate", None) != OUT_OF_RANGE:
            raise
        return _page(connection, grouping, after, limit, Numeric())


def _page(
    connection: Connection,
    grouping: Grouping,
    after: Sequence[Any] | None,
    limit: int,
    type_: TypeEngine[Any],
) -> Sequence[Row[Any]]:
    rank = rank_of(grouping.field)
    clauses = list(grouping.selection.clauses())
    tables, _ = joined([*clauses, rank.column, summaries.c.job_key])
    numbers = [summaries.c[name] for name in SUMMARY_NUMBERS]
    jobs = (
        select(rank.column.label("value"), *numbers).select_from(tables).where(*clauses).subquery()
    )
    value = jobs.c.value
    figures = (each for name in SUMMARY_NUMBERS for each in _figures(jobs.c[name], type_))
    query = select(value, func.count().label("jobs"), *figures).group_by(value)
    return read_page(connection, query, [], [rank.on(value)], after=after, limit=limit)


def _figures(number: ColumnElement[Any], type_: TypeEngine[Any]) -> Iterator[ColumnElement[Any]]:
    # NaN is above infinity here.
    finite = func.abs(number) < literal(math.inf, Float64)
    exact = cast(number, type_)
    yield func.count(number).label(f"{number.key}_count")
    for name, figure in (
        ("finite", func.count(number)),
        ("mean", func.avg(exact)),
        ("std", func.stddev_samp(exact)),
        ("min", func.min(number)),
        ("max", func.max(number)),
    ):
        yield figure.filter(finite).label(f"{number.key}_{name}")


def _group(row: Row[Any]) -> JobGroup:
    summary = {name: _statistics(row, name) for name in SUMMARY_NUMBERS}
    return JobGroup(
        value=shown(row.value), jobs=row.jobs, summary=SummaryStatistics.model_validate(summary)
    )


def _statistics(row: Row[Any], name: str) -> Statistics:
    values = row._mapping  # noqa: SLF001 - the public name of a row's columns
    count, finite = values[f"{name}_count"], values[f"{name}_finite"]
    figures = {each: values[f"{name}_{each}"] for each in ("mean", "std", "min", "max")}
    return Statistics(
        count=count,
        non_finite=count - finite,
        **{each: None if value is None else float(value) for each, value in figures.items()},
    )
