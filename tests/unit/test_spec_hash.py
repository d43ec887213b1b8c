"""`spec_sha256`: what can change a training's numbers, and nothing else."""

from typing import Any

import pytest

from models.domain.spec import parse_spec, resolve, spec_sha256
from tests.specs import DIGITS


def sha(**changes: object) -> str:
    return spec_sha256(parse_spec(DIGITS | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "another"},
        {"project": "other"},
        {"tags": {"a": "b"}},
        {"notes": "n"},
        {"parent": "0190a6e0-7b3c-7000-8000-000000000000"},
        {"priority": 5},
        {"queue": "gpu"},
        {"max_attempts": 1},
        {"checkpoint": {"every_seconds": 1}},
        {"record": {"layers_every": 1}},
    ],
)
def test_what_cannot_change_the_numbers_leaves_the_hash(changes: dict[str, Any]) -> None:
    assert sha(**changes) == sha()


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"epochs": 4},
        {"batch_size": 32},
        {"threads": 2},
        {"deterministic": False},
        {"optimizer": {"lr": 0.002}},
        {"dataset": {"name": "digits", "validation": 0.1}},
        {"network": {"name": "linear"}},
        {"stop": {"target_loss": 0.1}},
        {"evaluate": {"batch_size": 7}},
    ],
)
def test_what_can_change_the_numbers_changes_the_hash(changes: dict[str, Any]) -> None:
    assert sha(**changes) != sha()


def test_spelling_and_order_leave_the_hash() -> None:
    assert sha(optimizer={"lr": 1, "name": "sgd"}) == sha(optimizer={"name": "sgd", "lr": 1.0})
    assert spec_sha256(parse_spec(dict(reversed(DIGITS.items())))) == sha()
    assert sha(dataset={"name": "digits", "validation": 0.0}) == sha()


def test_the_resolved_spec_has_the_same_hash() -> None:
    assert spec_sha256(parse_spec(resolve(parse_spec(DIGITS)))) == sha()


def test_the_hash_of_a_known_spec_stays_what_it_is() -> None:
    """Jobs are compared across releases: a change here needs a new spec_version."""
    assert sha() == "c039c7de5a4c6603627c5329cce3ab717c742864f794b7bdcb2d2f8d4f289d1e"
