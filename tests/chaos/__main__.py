"""`python -m tests.chaos`: a run of any length, for `make chaos`."""

import argparse
import random
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.control import Control
from tests.chaos.deck import deal
from tests.chaos.run import Course, Run
from tests.chaos.specs import KINDS
from tests.chaos.stack import ChaosStack, Times

EPOCHS = 24


def main() -> int:
    options = _options()
    # Who is started in the background ignores both, and so would all that it starts, until they
    # have handlers of their own: a PostgreSQL that is just starting would not hear SIGQUIT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    # As after Ctrl-C: whatever was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    chance = random.Random(options.seed)  # noqa: S311 - a seed that can be given again
    specs = [kind(options.epochs) for kind in KINDS]
    course = Course(options.seed, list(deal(options.rounds, chance, options.only)), specs)
    folder = Path(tempfile.mkdtemp(prefix="gb-chaos-"))
    _tell(f"seed {options.seed}, {options.rounds} rounds; home and logs: {folder}")
    control = Control(folder / "control")
    with ChaosStack(folder, Times(), control.environment) as stack:
        stack.start()
        run = Run(course, stack, control, chance, _tell)
        try:
            run.play()
        except AssertionError:
            _tell(f"seed {options.seed}; home and logs are kept: {folder}")
        finally:
            _tell("\n".join(run.report.lines()))
            if options.json:
                options.json.write_text(run.report.json())
    if not run.report.violations:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if run.report.violations else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="the length of each training")
    parser.add_argument("--only", default="", help="a word: of faults, those that hold it")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    return parser.parse_args()


def _tell(words: str) -> None:
    print(words, flush=True)  # noqa: T201 - what it is run for


if __name__ == "__main__":
    sys.exit(main())
