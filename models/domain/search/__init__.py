"""Searching jobs: what can be asked of them, and in which order they come."""

from models.domain.search.conditions import Condition
from models.domain.search.fields import Field, Kind
from models.domain.search.grammar import parse_filter
from models.domain.search.orders import Order, OrderInvalid, parse_group, parse_orders

__all__ = [
    "Condition",
    "Field",
    "Kind",
    "Order",
    "OrderInvalid",
    "parse_filter",
    "parse_group",
    "parse_orders",
]
