"""A filter as SQL: every value is a bound parameter."""

import operator
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Numeric,
    Text,
    Uuid,
    and_,
    func,
    literal,
    or_,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from models.domain.search import Field, Kind
from models.domain.search.conditions import (
    Comparison,
    Condition,
    Either,
    Every,
    Likeness,
    Membership,
    Operator,
    Opposite,
    Value,
)
from models.tables import jobs
from models.tables.metadata import Float64, Moment
from services.columns import by_code_point, column_of, text_of

Clause = ColumnElement[bool]


def clause_of(condition: Condition, *, holds: bool = True) -> Clause:
    """What a row has to fulfil; null counts as false.

    `not` is carried down to the single conditions, where SQL's unknown is made true or false:
    above them there is only AND and OR, so that indexes stay of use.

    Args:
        condition: of the filter.
        holds: false for its opposite.

    """
    match condition:
        case Opposite(part):
            return clause_of(part, holds=not holds)
        case Every(parts) | Either(parts):
            join = and_ if isinstance(condition, Every) is holds else or_
            return join(*(clause_of(part, holds=holds) for part in parts))
        case Comparison(field, Operator.UNEQUAL, value):
            return clause_of(Comparison(field, Operator.EQUAL, value), holds=not holds)
        case _:
            found = _single(condition)
            return found if holds else found.is_not(true())


def bound(kind: Kind, value: Any) -> ColumnElement[Any]:  # noqa: ANN401 - a value of the kind
    """Make a value a parameter that compares with columns of the kind."""
    if kind is Kind.INTEGER:
        if isinstance(value, int) and abs(value) < 2**63:
            # As what it is: indexes of whole numbers are of no use to digits.
            return literal(value, BigInteger())
        # Whole numbers are compared with any number, exactly.
        value = Decimal(repr(value))
    return literal(value, _TYPES[kind])


_TYPES: Mapping[Kind, TypeEngine[Any]] = {
    Kind.TEXT: Text(),
    Kind.WORD: Text(),
    Kind.TAG: Text(),
    Kind.NUMBER: Float64,
    Kind.INTEGER: Numeric(),
    Kind.MOMENT: Moment,
    Kind.BOOLEAN: Boolean(),
    Kind.ID: Uuid(),
    Kind.JSON: JSONB(),
}
_COMPARE: Mapping[Operator, Callable[[Any, Any], Clause]] = {
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
}


def _single(condition: Comparison | Likeness | Membership) -> Clause:
    match condition:
        case Membership(field, values):
            return _one_of(field, values)
        case Likeness(field, pattern):
            return _text(field, lambda text: text.like(literal(pattern, Text)))
        case Comparison(field, _, None):
            return _is_null(field)
        case Comparison(field, Operator.EQUAL, value):
            return _one_of(field, (value,))
        case Comparison(field, sign, value):
            return _ranged(field, _COMPARE[sign], value)


def _ranged(field: Field, compare: Callable[[Any, Any], Clause], value: Value) -> Clause:
    if isinstance(value, str):
        return _text(field, lambda text: compare(text, literal(value, Text)))
    column = column_of(field)
    found = compare(column, bound(field.kind, value))
    # JSONB orders values of unlike types too.
    return and_(_is(column, "number"), found) if field.kind is Kind.JSON else found


def _one_of(field: Field, values: tuple[Value, ...]) -> Clause:
    if field.kind is Kind.TAG:
        # Containment is what the index on tags answers.
        return or_(*(jobs.c.tags.contains({field.path[1]: value}) for value in values))
    return column_of(field).in_([bound(field.kind, value) for value in values])


def _is_null(field: Field) -> Clause:
    column = column_of(field)
    if field.kind is Kind.JSON:
        return or_(column.is_(None), _is(column, "null"))
    return column.is_(None)


def _text(field: Field, test: Callable[[ColumnElement[Any]], Clause]) -> Clause:
    column = column_of(field)
    if field.kind is not Kind.JSON:
        return test(column)
    return and_(_is(column, "string"), test(by_code_point(text_of(column))))


def _is(column: ColumnElement[Any], type_: str) -> Clause:
    return func.jsonb_typeof(column) == literal(type_, Text)
