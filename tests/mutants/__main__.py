"""`make mutants`: break the promise on purpose, one place at a time, and see a test turn red.

The sources are copied; nothing of this checkout is changed. Each named test is run on the copy as
it is first: a test that fails anyway notices nothing.
"""

# ruff: noqa: T201 - what a command prints

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from tests.mutants.catalogue import MUTANTS, Mutant

ROOT = Path(__file__).parent.parent.parent
PASSED, FAILED = 0, 1
RUN_SECONDS = 300


def main() -> int:
    chosen = [mutant for mutant in MUTANTS if not sys.argv[1:] or mutant.name in sys.argv[1:]]
    with tempfile.TemporaryDirectory(prefix="gradbook-mutants-") as folder:
        copy = Path(folder)
        copy_sources(copy)
        healthy = run(copy, sorted({mutant.test for mutant in chosen}))
        if healthy != PASSED:
            print("The named tests fail without any mutant.")
            return 1
        survivors = [mutant for mutant in chosen if not noticed(copy, mutant)]
    print(f"{len(chosen)} mutants, {len(survivors)} unnoticed")
    return 1 if survivors else 0


def copy_sources(copy: Path) -> None:
    """The files that git tracks, and new ones it does not ignore, as they stand here."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)


def noticed(copy: Path, mutant: Mutant) -> bool:
    """Put the mutant into the copy, run its test, and take it out again."""
    file = copy / mutant.file
    sound = file.read_text()
    file.write_text(sound.replace(mutant.before, mutant.after))
    started = time.monotonic()
    try:
        red = run(copy, [mutant.test]) == FAILED
    finally:
        file.write_text(sound)
    verdict = "noticed" if red else "UNNOTICED"
    print(f"{verdict}  {mutant.name}  ({time.monotonic() - started:.0f} s)", flush=True)
    return red


def run(copy: Path, tests: Iterable[str]) -> int:
    """Run tests on the copy; pytest's exit code: 1 only where a test ran and failed."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
        cwd=copy,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_SECONDS * 4,
    )
    if done.returncode not in {PASSED, FAILED}:
        print(done.stdout[-3000:], done.stderr[-3000:])
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
