"""Every example is a spec that can be planned, and shows what its name says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from foundation.settings import LimitsSettings
from models.domain.plan import Plan, make_plan, plan_job
from models.domain.spec import parse_job, parse_spec

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(path.name for path in EXAMPLES.iterdir() if path.suffix in {".json", ".yaml"})


def read(name: str) -> dict[str, Any]:
    text = (EXAMPLES / name).read_text()
    spec: dict[str, Any] = json.loads(text) if name.endswith(".json") else yaml.safe_load(text)
    return spec


def planned(name: str) -> Plan:
    return make_plan(parse_spec(read(name)))


def test_the_promised_examples_are_there() -> None:
    assert set(FILES) >= {
        "digits.json",
        "cifar10-resnet18.yaml",
        "lenet5-digits-32.json",
        "gradient-descent-batch.json",
        "gradient-descent-stochastic.json",
        "gradient-descent-mini-batch.json",
    }


@pytest.mark.parametrize("name", FILES)
def test_an_example_can_be_planned(name: str) -> None:
    assert plan_job(parse_job(read(name)), LimitsSettings()).iterations_total


@pytest.mark.parametrize("name", ["digits.json", "lenet5-digits-32.json"])
def test_an_example_that_is_to_be_copied_warns_of_nothing(name: str) -> None:
    assert planned(name).warnings == ()


@pytest.mark.parametrize(
    ("kind", "batches"), [("batch", 1), ("stochastic", 1_437), ("mini-batch", 23)]
)
def test_the_three_gradient_descents_are_what_they_say(kind: str, batches: int) -> None:
    plan = planned(f"gradient-descent-{kind}.json")
    assert (plan.gradient_descent, plan.batches_per_epoch) == (kind, batches)


def test_the_resnet_example_s_comment_tells_the_truth() -> None:
    plan = planned("cifar10-resnet18.yaml")
    text = (EXAMPLES / "cifar10-resnet18.yaml").read_text()
    assert f"{plan.batches_per_epoch} batches an epoch" in text
    assert f"{plan.iterations_total:,} weight updates" in text


@pytest.mark.parametrize(
    ("page", "name"), [("own_code.md", "own-code.json"), ("programs.md", "program.json")]
)
def test_the_pages_of_own_code_show_the_examples(page: str, name: str) -> None:
    text = (EXAMPLES.parent / "docs" / page).read_text()
    shown = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert shown is not None
    example = read(name)
    assert json.loads(shown[1]).items() <= example.items()
