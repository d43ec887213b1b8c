"""docs/api.md names every call and every problem of the API, and no other."""

import json
import re

import pytest

from api.main import create_app
from api.problems import BY_SQLSTATE, PROBLEMS
from foundation.settings import Settings
from models.domain.plan import make_plan
from models.domain.spec import parse_spec
from tests.architecture.sources import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text()
CALLS, LATER = PAGE.split("The contract names these as well.")
CALL = re.compile(r"^\| ([A-Z]+) \| `(/\S+)` \| \S", re.MULTILINE)
PROBLEM = re.compile(r"^\| `(/problems/\S+)` \| (\d+) \| (.+) \|$", re.MULTILINE)
SPECS = [block for block in re.findall(r"```json\n(.+?)```", PAGE, re.DOTALL) if "dataset" in block]


def _operations() -> dict[tuple[str, str], bool]:
    """Every call of the app, and whether it is built."""
    paths = create_app(Settings()).openapi()["paths"]
    return {
        (method.upper(), path): "later" not in operation.get("tags", [])
        for path, operations in paths.items()
        for method, operation in operations.items()
    }


def test_every_call_is_in_the_page_and_no_other() -> None:
    assert sorted(CALL.findall(CALLS)) == sorted(
        call for call, built in _operations().items() if built
    )


def test_every_call_that_is_not_built_is_told_so() -> None:
    later = [call for call, built in _operations().items() if not built]
    assert sorted(CALL.findall(LATER)) == sorted(later)


def test_every_problem_is_in_the_page_with_its_status() -> None:
    kinds = [*PROBLEMS.values(), *BY_SQLSTATE.values()]
    named = PROBLEM.findall(PAGE)
    assert sorted(path for path, _, _ in named) == sorted({kind.type for kind in kinds})
    assert set(named) <= {(kind.type, str(kind.status.value), kind.title) for kind in kinds}


@pytest.mark.parametrize("spec", SPECS)
def test_a_spec_of_the_page_can_be_planned(spec: str) -> None:
    assert make_plan(parse_spec(json.loads(spec))).iterations_total > 0
