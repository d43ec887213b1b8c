"""What recording costs a training: every loss and learning rate, with the default `record`.

Pairs of whole trainings, each in a trainer process of its own under a supervisor that flushes to
PostgreSQL: the service's loop, and a bare one that computes the same numbers and throws them away
(benchmarks/trainings.py). Timed inside the process, from the first iteration to the last. The
control is the bare loop over itself. Iterations are as short as they come, about a millisecond:
what is recorded of one costs the same of a long one.

    .venv/bin/python -m benchmarks.bench_overhead [--quick] [--peers]
"""

import sys

from benchmarks.measuring import Line, asked, conclude, middle, ratios_of
from benchmarks.service import Service, service
from benchmarks.supervised import ITERATIONS_AN_EPOCH, Timing, Way, settings_of, train
from worker.forkserver import start_forkserver

PAIRS, QUICK_PAIRS = 20, 2
EPOCHS, QUICK_EPOCHS = 15, 2
GOAL = 1.02
WAYS = {
    "bare": Way("bare"),
    "recorded": Way("recorded"),
    "again": Way("bare"),
    "every norm": Way("recorded", {"grad_norm_every": 1}),
}


def measure(running: Service, pairs: int, epochs: int) -> list[Line]:
    settings = settings_of(running)
    timings: dict[str, list[Timing]] = {name: [] for name in WAYS}
    names = list(WAYS)
    train(running, settings, WAYS["recorded"], 1)
    for pair in range(pairs):
        # Each way comes first as often as last.
        for name in names if pair % 2 else reversed(names):
            timings[name].append(train(running, settings, WAYS[name], epochs))
    expected = epochs * ITERATIONS_AN_EPOCH
    whole = all(each.rows == expected for each in timings["recorded"] + timings["every norm"])
    iteration = middle([each.wall for each in timings["bare"]]) / expected
    return [
        Line(f"an iteration of the bare loop, of {expected:,}", f"{iteration * 1e3:.3f} ms"),
        *_lines("recorded over bare", timings["recorded"], timings["bare"], GOAL),
        *_lines("control: bare over bare", timings["again"], timings["bare"]),
        *_lines("with `grad_norm_every: 1`, over bare", timings["every norm"], timings["bare"]),
        Line("every row is in the book", f"{whole}".lower(), "true", whole),
    ]


def _lines(
    what: str, ones: list[Timing], others: list[Timing], goal: float | None = None
) -> list[Line]:
    lines = []
    for kind in ("wall", "cpu"):
        ratio = ratios_of(
            [getattr(each, kind) for each in ones], [getattr(each, kind) for each in others]
        )
        words = "" if goal is None else f"upper end at most {goal}"
        reached = None if goal is None else ratio.high <= goal
        lines.append(Line(f"{what}, {kind}, {len(ones)} pairs", str(ratio), words, reached))
    return lines


def main() -> int:
    run = asked(sys.argv)
    start_forkserver()
    with service() as running:
        pairs, epochs = (QUICK_PAIRS, QUICK_EPOCHS) if run.quick else (PAIRS, EPOCHS)
        lines = measure(running, pairs, epochs)
    return conclude("Overhead of recording", lines, run)


if __name__ == "__main__":
    sys.exit(main())
