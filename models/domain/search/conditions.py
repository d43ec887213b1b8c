"""A filter as it was understood: conditions on fields, and what joins them.

Every condition is true or false, never unknown: a field that a job does not have is null, which
equals null alone and is neither less nor greater than anything; so `not` is always the opposite.
NaN equals itself and is greater than every other number, in filters as in orders.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from models.domain.search.fields import Field

Value = str | int | float | bool | datetime | UUID | None
"""What a field is compared with, of the field's kind."""


class Operator(StrEnum):
    EQUAL = "="
    UNEQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    GREATER = ">"
    AT_LEAST = ">="


@dataclass(frozen=True, slots=True)
class Comparison:
    field: Field
    operator: Operator
    value: Value


@dataclass(frozen=True, slots=True)
class Likeness:
    """The text fits the pattern: % stands for any characters, _ for one.

    What follows a backslash stands for itself.
    """

    field: Field
    pattern: str


@dataclass(frozen=True, slots=True)
class Membership:
    """The field equals one of the values."""

    field: Field
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Every:
    parts: "tuple[Condition, ...]"


@dataclass(frozen=True, slots=True)
class Either:
    parts: "tuple[Condition, ...]"


@dataclass(frozen=True, slots=True)
class Opposite:
    part: "Condition"


Condition = Comparison | Likeness | Membership | Every | Either | Opposite


def fields_of(condition: Condition) -> Iterator[Field]:
    match condition:
        case Opposite(part):
            yield from fields_of(part)
        case Every(parts) | Either(parts):
            for part in parts:
                yield from fields_of(part)
        case _:
            yield condition.field
