"""A short run of chaos: each process killed, each moment struck, and the promise held."""

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from foundation.faults import Moment
from tests.chaos.control import Control
from tests.chaos.deck import SHORT, SHORT_ROUNDS, hands
from tests.chaos.run import Course, Run
from tests.chaos.specs import KINDS
from tests.chaos.stack import ChaosStack, Times

SEED = int(os.environ.get("GRADBOOK_TEST_CHAOS_SEED", "3"))
EPOCHS = 10


@pytest.fixture
def folder() -> Iterator[Path]:
    """Kept where something went wrong; `tmp_path` would make the sockets' paths too long."""
    made = Path(tempfile.mkdtemp(prefix="gb-chaos-"))
    yield made
    if (made / "well").exists():
        shutil.rmtree(made, ignore_errors=True)


def tell(words: str) -> None:
    print(words)  # noqa: T201 - pytest shows it where the run fails


@pytest.mark.timeout(600)
def test_nothing_is_lost_and_nothing_is_counted_twice(folder: Path) -> None:
    chance = random.Random(SEED)  # noqa: S311 - a seed that can be given again
    course = Course(SEED, hands(SHORT, SHORT_ROUNDS, chance), [kind(EPOCHS) for kind in KINDS])
    tell(f"seed {SEED}; home and logs are kept where it fails: {folder}")
    control = Control(folder / "control")
    with ChaosStack(folder, Times(), control.environment) as stack:
        stack.start()
        run = Run(course, stack, control, chance, tell)
        try:
            report = run.play()
        finally:
            tell("\n".join(run.report.lines()))
    assert {moment: report.hits[moment] > 0 for moment in Moment} == dict.fromkeys(Moment, True)
    assert stack.processes() == []
    (folder / "well").touch()
