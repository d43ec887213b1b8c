"""A team's package, installed as on a worker, and others that tests write."""

import shutil
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent / "examples" / "team_vision"
_ALONE = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation")


def install_example(folder: Path) -> Path:
    """Build the example package and install it in a folder of its own; nothing is downloaded."""
    source, target = folder / "source", folder / "site"
    # A build leaves its own folders beside the source.
    shutil.copytree(EXAMPLE, source)
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *_ALONE, "--target", str(target), str(source)],
        check=True,
        capture_output=True,
    )
    return target


def write_package(folder: Path, name: str, **modules: str) -> None:
    """Write a package of modules, each a text; `init` is the package's own."""
    package = folder / name
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(modules.pop("init", ""))
    for module, text in modules.items():
        (package / f"{module}.py").write_text(text)
