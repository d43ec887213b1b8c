"""A search told a second time, in Python, over jobs as the API shows them."""

import math
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from models.domain.numbers import NOT_FINITE
from models.domain.search import Condition, Field, Kind, Order
from models.domain.search.conditions import (
    Comparison,
    Either,
    Every,
    Likeness,
    Membership,
    Operator,
    Opposite,
)

Json = Any


def fits(job: Json, condition: Condition) -> bool:
    match condition:
        case Opposite(part):
            return not fits(job, part)
        case Every(parts):
            return all(fits(job, part) for part in parts)
        case Either(parts):
            return any(fits(job, part) for part in parts)
        case Membership(field, values):
            return any(equal(value_of(job, field), value) for value in values)
        case Likeness(field, pattern):
            text = value_of(job, field)
            return isinstance(text, str) and like(text, pattern)
        case Comparison(field, sign, value):
            return compared(value_of(job, field), sign, value)


def in_order(jobs: Iterable[Json], orders: Sequence[Order]) -> list[Json]:
    """Sort by the last order first: each sort keeps what the one before it has done."""
    sorted_jobs = list(jobs)  # by their numbers, upwards
    if orders[0].descending:
        sorted_jobs.reverse()
    for order in reversed(orders):
        known = [job for job in sorted_jobs if value_of(job, order.field) is not None]
        rest = [job for job in sorted_jobs if value_of(job, order.field) is None]
        ways = {weight(value_of(job, order.field)) for job in known}
        places = {way: place for place, way in enumerate(sorted(ways, reverse=order.descending))}
        known.sort(key=lambda job: places[weight(value_of(job, order.field))])
        sorted_jobs = known + rest
    return sorted_jobs


def value_of(job: Json, field: Field) -> Any:  # noqa: ANN401 - of the field's kind
    value = job
    for name in field.path:
        match value:
            case dict():
                value = value.get(name)
            case list():
                value = value[int(name)] if int(name) < len(value) else None
            case _:
                return None
    if value is None:
        return None
    match field.kind:
        case Kind.NUMBER:
            return NOT_FINITE.get(value, value) if isinstance(value, str) else value
        case Kind.MOMENT:
            return datetime.fromisoformat(value)
        case Kind.ID:
            return UUID(value)
    return value


def compared(found: Any, sign: Operator, value: Any) -> bool:  # noqa: ANN401
    match sign:
        case Operator.EQUAL:
            return equal(found, value)
        case Operator.UNEQUAL:
            return not equal(found, value)
    if found is None or rank(found) != rank(value):
        return False
    this, other = weight(found), weight(value)
    return {
        Operator.LESS: this < other,
        Operator.AT_MOST: this <= other,
        Operator.GREATER: this > other,
        Operator.AT_LEAST: this >= other,
    }[sign]


def equal(found: Any, value: Any) -> bool:  # noqa: ANN401
    if found is None or value is None:
        return found is value
    return rank(found) == rank(value) and weight(found) == weight(value)


def rank(value: Any) -> int:  # noqa: ANN401
    """JSON's types in the order of an order: text, numbers, false and true; what is no scalar."""
    match value:
        case dict() | list():
            return 3
        case bool():
            return 2
        case int() | float():
            return 1
    return 0


def weight(value: Any) -> tuple[int, bool, Any]:  # noqa: ANN401
    """What values of one field are sorted by; NaN is above every other number."""
    if isinstance(value, dict | list):
        return (3, False, repr(value))
    nan = isinstance(value, float) and math.isnan(value)
    return (rank(value), nan, 0 if nan else value)


def like(text: str, pattern: str) -> bool:
    regex, place = "", 0
    while place < len(pattern):
        character = pattern[place]
        if character == "\\":
            place += 1
            regex += re.escape(pattern[place])
        else:
            regex += {"%": ".*", "_": "."}.get(character, re.escape(character))
        place += 1
    return re.fullmatch(regex, text, re.DOTALL) is not None
