"""The import contracts hold, and each of them goes red where it is broken."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOMS, ROOT

PLANTS = [
    ("models/planted.py", "import services", "Doors above, ideas below"),
    ("api/planted.py", "import worker", "Doors above, ideas below"),
    ("worker/planted.py", "import api", "Doors above, ideas below"),
    ("foundation/planted.py", "import models.domain", "Doors above, ideas below"),
    ("services/planted.py", "import torch", "The front door never loads torch"),
    (
        "worker/training/planted.py",
        "import sqlalchemy",
        "The workshop's inner room knows tensors only",
    ),
    ("models/domain/planted.py", "import fastapi", "The domain is plain Python and pydantic"),
]


def _lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    tool = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [tool, "--no-logo", "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a copy of the rooms and their contracts that may be spoiled."""
    copy = tmp_path_factory.mktemp("house")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for room in ROOMS:
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def test_the_import_contracts_hold(house: Path) -> None:
    result = _lint_imports(house)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(("path", "line", "contract"), PLANTS)
def test_a_planted_import_turns_its_contract_red(
    house: Path, path: str, line: str, contract: str
) -> None:
    planted = house / path
    planted.write_text(line + "\n")
    try:
        result = _lint_imports(house)
    finally:
        planted.unlink()
    assert result.returncode != 0
    assert f"{contract} BROKEN" in result.stdout, result.stdout


def test_every_contract_has_a_plant() -> None:
    kept = [line for line in _lint_imports(ROOT).stdout.splitlines() if line.endswith(" KEPT")]
    assert {line.removesuffix(" KEPT") for line in kept} == {contract for _, _, contract in PLANTS}
