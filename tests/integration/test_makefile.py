"""The Makefile's own words: what it lists, and what it refuses before anything is installed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
OLD_PYTHON = """\
#!/bin/sh
case "$2" in *exit*) exit 1 ;; *) echo 3.8 ;; esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the Makefile, and a space in its path."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def _make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("make")
    assert program
    inherited = ("MAKE", "MFLAGS", "PYTHON", "HOME", "PIP_FIND")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(inherited)}
    return subprocess.run(
        [program, *words], cwd=folder, env=clean, capture_output=True, text=True, check=False
    )


def test_help_lists_every_target_that_has_something_to_say(clone: Path) -> None:
    listed = re.findall(r"^  make ([a-z]+) +\S", _make(clone).stdout, re.MULTILINE)
    phony = re.search(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert set(listed) == set(phony[1].split()) - {"torch-of-index"}


@pytest.mark.parametrize("target", ["demo", "up", "test", "check"])
def test_too_old_a_python_is_refused_with_the_cure(clone: Path, target: str) -> None:
    old = clone / "old python"
    old.write_text(OLD_PYTHON)
    old.chmod(0o755)
    result = _make(clone, target, f"PYTHON={old}")
    assert result.returncode != 0
    assert "needs Python 3.11 or newer" in result.stderr
    assert "(3.8)" in result.stderr
    assert f"make {target} PYTHON=" in result.stderr
    assert not (clone / ".venv").exists()


def test_a_python_that_is_not_there_is_refused_with_the_cure(clone: Path) -> None:
    result = _make(clone, "demo", f"PYTHON={clone}/nowhere")
    assert result.returncode != 0
    assert "nowhere" in result.stderr
    assert "make demo PYTHON=" in result.stderr


def test_a_full_disk_is_refused_with_the_cure(clone: Path) -> None:
    result = _make(clone, "demo", "ROOM_MB=999999999")
    assert result.returncode != 0
    assert "MB are free here, and the installation needs about 999999999 MB" in result.stderr
    assert "Free some room" in result.stderr
    assert not (clone / ".venv").exists()


def test_an_index_that_does_not_answer_is_told_from_a_full_disk(clone: Path) -> None:
    index = (clone / "no index").as_uri()
    words = ["install", f"TORCH_INDEX={index}", "PIP=PIP_NO_INDEX=1 .venv/bin/python -m pip"]
    result = _make(clone, *words)
    assert result.returncode != 0
    assert "The package index did not answer" in result.stderr
    assert ".venv/install.log" in result.stderr
    assert not (clone / ".venv" / ".ready").exists()
