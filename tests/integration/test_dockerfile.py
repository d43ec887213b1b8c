"""The Dockerfile's lines, run outside Docker: in a fresh virtual environment and a copied tree.

What is not run here: FROM, USER, and the RUN line that makes the account, which would change this
machine.
"""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT, name_of, tracked_files

TEXT = (ROOT / "Dockerfile").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
ACCOUNT = "useradd "


def _instructions() -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n\s*", "", TEXT)
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def _pip_lines() -> list[str]:
    runs = [rest for word, rest in _instructions() if word == "RUN"]
    return [line for line in runs if not line.startswith(ACCOUNT)]


def test_all_that_is_run_is_the_account_and_pip() -> None:
    runs = [rest for word, rest in _instructions() if word == "RUN"]
    assert [line.startswith(ACCOUNT) for line in runs] == [True, False, False]
    assert all(line.startswith("python -m pip install ") for line in _pip_lines())


def test_the_image_installs_what_the_makefile_installs() -> None:
    torch, gradbook = _pip_lines()
    pinned = re.search(r"^TORCH := (\S+)$", MAKEFILE, re.MULTILINE)
    assert pinned
    assert torch.endswith(f" {pinned[1]}")
    assert f'"{pinned[1]}"' in (ROOT / "pyproject.toml").read_text()
    assert "--index-url" in torch
    assert gradbook.endswith(" -e .")
    assert "$(call pip_install,Gradbook,-e .)" in MAKEFILE


def test_the_image_runs_as_an_account_of_its_own() -> None:
    words = [word for word, _ in _instructions()]
    assert ("USER", "gradbook") in _instructions()
    assert words.index("USER") > max(i for i, word in enumerate(words) if word == "RUN")
    assert words.index("USER") < words.index("CMD")


def _sent_to_the_engine() -> list[Path]:
    """The build's context: what .dockerignore lets through."""
    patterns = (ROOT / ".dockerignore").read_text().split()
    hidden = [pattern for pattern in patterns if not pattern.startswith("!")]

    def is_hidden(name: str) -> bool:
        top = name.split("/", maxsplit=1)[0]
        return any(fnmatch.fnmatch(top, pattern) for pattern in hidden)

    return [path for path in tracked_files() if not is_hidden(name_of(path))]


def test_no_secret_and_no_data_folder_is_sent_to_the_engine() -> None:
    hidden = (ROOT / ".dockerignore").read_text().split()
    assert ".*" in hidden
    assert not [path for path in _sent_to_the_engine() if name_of(path).startswith((".", "tests"))]


@pytest.mark.timeout(900)
def test_the_dockerfiles_lines_install_a_gradbook_that_runs(tmp_path: Path) -> None:
    app, environment = tmp_path / "app", tmp_path / "venv"
    app.mkdir()
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    clean = {name: value for name, value in os.environ.items() if "GRADBOOK" not in name}
    clean |= {"PATH": f"{environment / 'bin'}{os.pathsep}{clean['PATH']}", "TORCH_INDEX": ""}
    for word, rest in _instructions():
        if word == "COPY":
            assert rest == ". ."
            for path in _sent_to_the_engine():
                target = app / name_of(path)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
        elif word == "ENV":
            clean |= dict(pair.split("=", 1) for pair in rest.split())
        elif word == "RUN" and not rest.startswith(ACCOUNT):
            _run(["sh", "-c", rest.replace("--no-cache-dir ", "")], app, clean)
    _run(["python", "-m", "pip", "check"], app, clean)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert "gradbook " in _run(["gradbook", "--version"], elsewhere, clean)
    loaded = "import api.main, worker.main, migrations.run, torch; print(torch.__version__)"
    assert _run(["python", "-c", loaded], elsewhere, clean).startswith("2.13.0")


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout
