"""The order of a list: fields, each up or down."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from models.domain.search.fields import PATH, Field, FieldUnknown, find_field

MOST_ORDERS = 4
_ONE = re.compile(rf"\s*([+-]?)({PATH.pattern})\s*(,|$)")


@dataclass(frozen=True, slots=True)
class Order:
    field: Field
    descending: bool


class OrderInvalid(ValueError):
    """The text is no order; says why."""


def parse_orders(text: str) -> tuple[Order, ...]:
    """Read `summary.best_loss,-created_at`.

    Raises:
        OrderInvalid: it is none; FieldUnknown, which it also may raise, is one too.

    """
    orders = tuple(_orders(text))
    if len({order.field for order in orders}) < len(orders):
        raise OrderInvalid("each field once")
    return orders


def parse_group(text: str) -> Field:
    """Read the one field of `group_by`.

    Raises:
        OrderInvalid: it is none.

    """
    if not PATH.fullmatch(text):
        raise OrderInvalid("one field is expected, such as spec.optimizer.lr")
    return _found(text)


def _orders(text: str) -> Iterator[Order]:
    place, more = 0, True
    for _ in range(MOST_ORDERS):
        found = _ONE.match(text, place)
        if found is None:
            raise OrderInvalid(
                "fields are expected, separated by commas, - before one for downwards"
            )
        sign, path, comma = found.groups()
        yield Order(_found(path), sign == "-")
        place, more = found.end(), bool(comma)
        if not more:
            return
    raise OrderInvalid(f"at most {MOST_ORDERS} fields")


def _found(path: str) -> Field:
    try:
        return find_field(path)
    except FieldUnknown as error:
        raise OrderInvalid(str(error)) from None
