"""The repository as text: where it is and which files belong to it."""

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("api", "cli", "foundation", "migrations", "models", "services", "worker")
HOUSE = (*ROOMS, "benchmarks", "examples", "tests")


@cache
def tracked_files() -> tuple[Path, ...]:
    """Every file of the repository, or of an unpacked archive of it."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        names = [name for name in listed.split("\0") if name]
        return tuple(ROOT / name for name in names if (ROOT / name).is_file())
    hidden = {".venv", ".gradbook", "__pycache__", "build", "dist"}
    return tuple(
        path
        for path in ROOT.rglob("*")
        if path.is_file() and not hidden & set(path.relative_to(ROOT).parts)
    )


@cache
def python_files() -> tuple[Path, ...]:
    return tuple(path for path in tracked_files() if path.suffix == ".py")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
