"""What the benches share: pairs in one run, medians with intervals, tables, RESULTS.md.

A claim is a ratio of two things measured in turn in the same run, so that what the machine does
beside them hits both. Its interval is a bootstrap of the pairs' ratios.
"""

import argparse
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import numpy as np

RESULTS = Path(__file__).parent / "RESULTS.md"
RESAMPLES = 5_000
SEED = 20_260_101
BEGAN = time.monotonic()

Work = Callable[[], object]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Ratios:
    """How much longer one thing takes than another: the median of pairs, and its 95 % interval."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a bench's table.

    Args:
        what: was measured.
        figure: as it is shown.
        goal: in words; empty: there is none.
        reached: whether the goal was; None where there is none.

    """

    what: str
    figure: str
    goal: str = ""
    reached: bool | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """What was asked of a bench.

    Args:
        quick: only see that it works, in a minute at most: nothing of it is published.
        peers: measure other people's programs too; they are installed where they are not yet.

    """

    quick: bool
    peers: bool


def asked(arguments: Sequence[str]) -> Run:
    """Read a bench's command line."""
    parser = argparse.ArgumentParser(prog=arguments[0])
    parser.add_argument("--quick", action="store_true", help="see that it works; publish nothing")
    parser.add_argument("--peers", action="store_true", help="in a quick run too")
    found = parser.parse_args(arguments[1:])
    return Run(quick=found.quick, peers=found.peers or not found.quick)


@contextmanager
def clock() -> Iterator[list[float]]:
    """Put the seconds that the block takes into the list."""
    seconds: list[float] = []
    began = time.perf_counter()
    yield seconds
    seconds.append(time.perf_counter() - began)


def seconds_of(work: Work) -> float:
    with clock() as seconds:
        work()
    return seconds[0]


def in_pairs(one: Work, other: Work, pairs: int) -> tuple[list[float], list[float]]:
    """Time two things in turn, each first as often as the other; one pair before is not counted."""
    one(), other()
    ones, others = [], []
    for pair in range(pairs):
        if pair % 2:
            others.append(seconds_of(other))
            ones.append(seconds_of(one))
        else:
            ones.append(seconds_of(one))
            others.append(seconds_of(other))
    return ones, others


def in_turns(
    works: Mapping[Key, Work], rounds: int, warm_up_rounds: int = 1
) -> dict[Key, list[float]]:
    """Time several things round by round, so that what comes and goes hits all of them."""
    seconds: dict[Key, list[float]] = {key: [] for key in works}
    for number in range(warm_up_rounds + rounds):
        for key, work in works.items():
            taken = seconds_of(work)
            if number >= warm_up_rounds:
                seconds[key].append(taken)
    return seconds


def ratios_of(numerators: Sequence[float], denominators: Sequence[float]) -> Ratios:
    """Take the median of the pairs' ratios, and the interval of that median."""
    ratios = np.divide(numerators, denominators)
    random = np.random.default_rng(SEED)
    drawn = random.choice(ratios, (RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return Ratios(float(np.median(ratios)), float(low), float(high))


def percentile(seconds: Sequence[float], share: float) -> float:
    return float(np.quantile(seconds, share))


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


def machine() -> str:
    """Say in a line what this ran on."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    name = model[1] if model else platform.machine()
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores ({name}), Python {platform.python_version()}, "
        f"load {load:.1f} at the end"
    )


def publish(title: str, lines: Sequence[Line], *, keep: bool) -> int:
    """Print a bench's table, and where it is to be kept put it into RESULTS.md.

    Returns:
        The exit code: 0 where every goal is reached.

    """
    rows = [f"| {each.what} | {each.figure} | {each.goal} | {_mark(each)} |" for each in lines]
    table = "\n".join(["| what | measured | goal | |", "| --- | --- | --- | --- |", *rows])
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    took = f"it took {(time.monotonic() - BEGAN) / 60:.1f} minutes"
    section = f"## {title}\n\n{when}, {machine()}; {took}.\n\n{table}\n"
    print(section)
    if keep:
        _merge(title, section)
    return 0 if all(each.reached is not False for each in lines) else 1


def conclude(title: str, lines: Sequence[Line], run: Run) -> int:
    """Publish what a run has measured; one that was quick is no judgement, and never fails."""
    code = publish(title, lines, keep=not run.quick)
    return 0 if run.quick else code


def _mark(line: Line) -> str:
    return "" if line.reached is None else "reached" if line.reached else "**not reached**"


def _merge(title: str, section: str) -> None:
    head = "# Results\n\nMade by `make bench`; each bench rewrites its own section.\n"
    text = RESULTS.read_text() if RESULTS.exists() else head
    first, *sections = re.split(r"\n(?=## )", text)
    others = [each for each in sections if not each.startswith(f"## {title}\n")]
    kept = sorted([*(each.rstrip("\n") for each in others), section.rstrip("\n")])
    RESULTS.write_text("\n\n".join([first.rstrip("\n"), *kept]) + "\n")


def middle(seconds: Sequence[float]) -> float:
    return statistics.median(seconds)
