"""What a filter compares a field with, made of the field's kind or refused."""

import difflib
import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from uuid import UUID

from models.domain.search.conditions import Operator, Value
from models.domain.search.fields import Field, Kind

Literal = str | int | float | bool | None
"""A value as a filter writes it."""

_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_ORDERED = frozenset({Operator.LESS, Operator.AT_MOST, Operator.GREATER, Operator.AT_LEAST})


class Misfit(ValueError):
    """The value can't be compared with the field in this way; says what can."""


def value_for(field: Field, operator: Operator, literal: Literal) -> Value:
    """Make a literal what the field is compared with.

    Raises:
        Misfit: it is of another kind, or has no order where one is asked for.

    """
    if operator in _ORDERED and (literal is None or isinstance(literal, bool)):
        raise Misfit("null, true and false are neither less nor greater: compare with = or !=")
    if operator in _ORDERED and field.kind in (Kind.BOOLEAN, Kind.WORD, Kind.ID):
        raise Misfit(f"{field} has no order: compare it with =, != or in")
    return None if literal is None else _READERS[field.kind](field, literal)


def pattern_for(field: Field, pattern: str) -> str:
    """Check a pattern, and that it goes with the field.

    Raises:
        Misfit: the field is no text, or nothing follows the pattern's last backslash.

    """
    if field.kind not in (Kind.TEXT, Kind.WORD, Kind.TAG, Kind.JSON):
        raise Misfit(f"like goes with text, and {field} is {field.kind}")
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        raise Misfit("a backslash at a pattern's end stands before nothing: write \\\\ for itself")
    return pattern


def _text(field: Field, literal: Literal) -> Value:
    if not isinstance(literal, str):
        raise Misfit(f"{field} is text: compare it with text in '…'")
    return literal


def _word(field: Field, literal: Literal) -> Value:
    if literal not in field.words:
        near = difflib.get_close_matches(str(literal)[:100], field.words, 1, 0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"it is one of {', '.join(field.words)}"
        raise Misfit(f"{field} is never that: {hint}")
    return literal


def _number(field: Field, literal: Literal) -> Value:
    if isinstance(literal, bool) or not isinstance(literal, int | float):
        raise Misfit(f"{field} is {field.kind}: compare it with a number")
    return literal


def _float(field: Field, literal: Literal) -> Value:
    value = _number(field, literal)
    # As the book holds it: 64 bits.
    return float(value) if isinstance(value, int | float) else value


def _boolean(field: Field, literal: Literal) -> Value:
    if not isinstance(literal, bool):
        raise Misfit(f"{field} is true or false: compare it with one of them")
    return literal


def _moment(field: Field, literal: Literal) -> Value:
    if isinstance(literal, str) and _MOMENT.fullmatch(literal):
        try:
            return datetime.fromisoformat(literal.upper())
        except ValueError:
            pass
    raise Misfit(f"{field} is a time: compare it with RFC 3339, '2026-01-31T12:00:00Z'")


def _id(field: Field, literal: Literal) -> Value:
    try:
        return UUID(str(literal))
    except ValueError:
        raise Misfit(f"{field} is an id: compare it with a UUID in '…'") from None


def _json(field: Field, literal: Literal) -> Value:
    if isinstance(literal, float) and not math.isfinite(literal):
        raise Misfit(f"{field} is JSON, which has no such number")
    return literal


_READERS: Mapping[Kind, Callable[[Field, Literal], Value]] = {
    Kind.TEXT: _text,
    Kind.TAG: _text,
    Kind.WORD: _word,
    Kind.NUMBER: _float,
    Kind.INTEGER: _number,
    Kind.BOOLEAN: _boolean,
    Kind.MOMENT: _moment,
    Kind.ID: _id,
    Kind.JSON: _json,
}
