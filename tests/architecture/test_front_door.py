"""The API's process never loads torch, and no process of ours loads CUDA by an import."""

import subprocess
import sys

import pytest

from tests.architecture.sources import ROOT

HEAVY = ("torch", "sklearn", "worker")


@pytest.mark.parametrize("module", ["api.main", "cli.main"])
def test_importing_the_module_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


def test_building_the_app_and_its_document_loads_no_torch() -> None:
    code = (
        "import sys; from api.main import create_app; from foundation.settings import Settings; "
        "create_app(Settings()).openapi(); print('torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "False"
