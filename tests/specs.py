"""Specs that tests begin with, and what a refusal of one says."""

from typing import Any

import pytest

from models.domain.errors import SpecInvalid
from models.domain.plan import Plan, make_plan
from models.domain.spec import parse_spec

CIFAR: dict[str, Any] = {
    "dataset": {"name": "cifar10"},
    "network": {"name": "lenet5"},
    "epochs": 10,
    "batch_size": 256,
}
DIGITS: dict[str, Any] = {
    "dataset": {"name": "digits"},
    "network": {"name": "mlp"},
    "epochs": 3,
}

Refusals = dict[tuple[str | int, ...], str]


def plan_of(raw: dict[str, Any], **changes: object) -> Plan:
    return make_plan(parse_spec(raw | changes))


def refusals_of(raw: dict[str, Any], **changes: object) -> Refusals:
    """The places and messages with which the changed spec is refused, parsing or planning."""
    with pytest.raises(SpecInvalid) as refused:
        plan_of(raw, **changes)
    return {breach.loc: breach.msg for breach in refused.value.breaches}


def codes_of(plan: Plan) -> dict[str, tuple[str | int, ...]]:
    return {warning.code: warning.loc for warning in plan.warnings}


def layered(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"layers": list(layers)}
