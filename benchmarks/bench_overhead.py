"""What recording costs a training: every loss and learning rate, with the default `record`.

A pair is some epochs by the service's loop, whose supervisor flushes them to PostgreSQL, and as
many by a bare one that computes the same numbers and throws them away (benchmarks/trainings.py), in
turn in one trainer process (benchmarks/alternating.py). The pairs come from several processes.
The control is the bare loop over itself. Iterations are as short as they come, about a millisecond:
what is recorded of one costs the same of a long one.

    .venv/bin/python -m benchmarks.bench_overhead [--quick] [--peers]
"""

import sys
from collections import defaultdict
from collections.abc import Sequence

from benchmarks.alternating import EPOCHS_A_TURN
from benchmarks.measuring import Line, asked, conclude, middle, ratios_of
from benchmarks.service import Service, service
from benchmarks.supervised import ITERATIONS_AN_EPOCH, Timing, Way, settings_of, train_in_rounds
from worker.forkserver import start_forkserver

PROCESSES, QUICK_PROCESSES = 6, 1
ROUNDS, QUICK_ROUNDS = 8, 1
GOAL = 1.02
TRAIN = "alternating:alternating"
WAYS = {"default": Way(TRAIN), "every norm": Way(TRAIN, {"grad_norm_every": 1})}

Timings = dict[str, list[Timing]]


def measure(running: Service, names: Sequence[str], processes: int, rounds: int) -> list[Line]:
    settings = settings_of(running)
    timings: dict[str, Timings] = {name: defaultdict(list) for name in names}
    for _ in range(processes):
        for name in names:
            for turn, found in train_in_rounds(running, settings, WAYS[name], rounds).items():
                timings[name][turn] += found
    default = timings["default"]
    iterations = EPOCHS_A_TURN * ITERATIONS_AN_EPOCH
    iteration = middle([each.wall for each in default["bare"]]) / iterations
    lines = [
        Line(f"an iteration of the bare loop, of {iterations:,}", f"{iteration * 1e3:.3f} ms"),
        *_lines("recorded over bare", default, "recorded", GOAL),
        *_lines("control: bare over bare", default, "again"),
    ]
    if "every norm" in timings:
        every_norm = timings["every norm"]
        lines += _lines("with `grad_norm_every: 1`, over bare", every_norm, "recorded")
    # Training in rounds raises where one is missing.
    return [*lines, Line("every row is in the book", "true", "true", reached=True)]


def _lines(what: str, timings: Timings, turn: str, goal: float | None = None) -> list[Line]:
    lines = []
    for kind in ("wall", "cpu"):
        # Half of the pairs have the bare turn before, half behind.
        ratio = ratios_of(
            [getattr(each, kind) for each in timings[turn]],
            [getattr(each, kind) for each in timings["bare"]],
        )
        words = "" if goal is None else f"upper end at most {goal}"
        reached = None if goal is None else ratio.high <= goal
        pairs = len(timings[turn])
        lines.append(Line(f"{what}, {kind}, {pairs} pairs", str(ratio), words, reached))
    return lines


def main() -> int:
    run = asked(sys.argv)
    start_forkserver()
    with service() as running:
        if run.quick:
            lines = measure(running, ["default"], QUICK_PROCESSES, QUICK_ROUNDS)
        else:
            lines = measure(running, list(WAYS), PROCESSES, ROUNDS)
    return conclude("Overhead of recording", lines, run)


if __name__ == "__main__":
    sys.exit(main())
