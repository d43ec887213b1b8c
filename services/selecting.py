"""Which jobs a list or a group is made of, and the tables that one has to look into for them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ClauseElement,
    Column,
    ColumnClause,
    ColumnElement,
    Connection,
    FromClause,
    Lateral,
    Table,
    Text,
    any_,
    bindparam,
    func,
    literal,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.sql import visitors

from models.domain.lifecycle import State
from models.domain.search import Condition
from models.domain.search.conditions import fields_of
from models.tables import jobs, plan_outlines, progress, spec_outlines, summaries
from services.filtering import clause_of

LONGEST_KEY = 200
_TABLES: Sequence[tuple[Table, Column[Any]]] = (
    (jobs, jobs.c.key),
    (progress, progress.c.job_key),
    (summaries, summaries.c.job_key),
    (spec_outlines, spec_outlines.c.job_key),
    (plan_outlines, plan_outlines.c.job_key),
)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which jobs.

    Attributes:
        states: any of these; all where there is none.
        tags: each of these, "key:value"; where there are more colons, either part may hold them.
        condition: what a filter asks for.

    """

    project: str | None = None
    states: Sequence[State] = ()
    tags: Sequence[str] = ()
    condition: Condition | None = None

    @property
    def names(self) -> tuple[object, ...]:
        """What a cursor has to be bound to; a condition is named by all that it says."""
        condition = None if self.condition is None else repr(self.condition)
        return (self.project, sorted(set(self.states)), sorted(self.tags), condition)

    @property
    def speaks_of_creation(self) -> bool:
        named = () if self.condition is None else fields_of(self.condition)
        return any(field.path == ("created_at",) for field in named)

    def clauses(self) -> Iterator[ColumnElement[bool]]:
        if self.project is not None:
            yield jobs.c.project == self.project
        if self.states:
            yield jobs.c.state.in_(self.states)
        for tag in self.tags:
            # One parameter, however many pairs it may stand for.
            yield jobs.c.tags.contains(any_(literal(_readings(tag), ARRAY(JSONB()))))
        if self.condition is not None:
            yield clause_of(self.condition)


def joined(expressions: Sequence[ColumnElement[Any]]) -> tuple[FromClause, list[Column[Any]]]:
    """Join what expressions speak of, and nothing else: tables with a row a job, and look-ups.

    Returns:
        The tables, and the column of each table that holds the job's key.

    """
    used = dict.fromkeys(_named(expressions))
    looked_up = [each for each in used if isinstance(each, Lateral)]
    # A look-up speaks of a table, too.
    used |= dict.fromkeys(_named(each.element for each in looked_up))
    needed = [each for each in _TABLES if each[0] in used] or [_TABLES[0]]
    tables: FromClause = needed[0][0]
    keys = [key for _, key in needed]
    for table, key in needed[1:]:
        tables = tables.join(table, key == keys[0])
    for each in looked_up:
        tables = tables.outerjoin(each, true())
    return tables, keys


def _named(expressions: Iterable[ClauseElement]) -> Iterator[FromClause]:
    for expression in expressions:
        for element in visitors.iterate(expression):
            if isinstance(element, ColumnClause) and element.table is not None:
                yield element.table


def bound_statements(connection: Connection, seconds: float) -> None:
    """Let no statement of the transaction take longer: it ends with SQLSTATE 57014.

    Compiling a search costs more than it saves, at any size that is answered in time.
    """
    milliseconds = str(max(1, round(seconds * 1000)))
    connection.execute(_BOUND, {"milliseconds": milliseconds})


_BOUND = select(
    func.set_config("statement_timeout", bindparam("milliseconds", type_=Text), True),
    func.set_config("jit", "off", True),
    # What a search is for decides how it is read: a plan for any value may be a bad one.
    func.set_config("plan_cache_mode", "force_custom_plan", True),
    # What lists are made of lies in memory: the server's usual 4 is of disks that turn, and makes
    # it read all summaries rather than look up those of a project.
    func.set_config("random_page_cost", "1.1", True),
)


def _readings(tag: str) -> list[dict[str, str]]:
    """Every pair that "key:value" may stand for; a key has a length that bounds them."""
    colons = [place for place, character in enumerate(tag[: LONGEST_KEY + 1]) if character == ":"]
    return [{tag[:place]: tag[place + 1 :]} for place in colons]
