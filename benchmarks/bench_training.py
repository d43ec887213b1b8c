"""How fast a job trains, against loops that trainings are written with by hand.

The service's whole way (a trainer process, every iteration recorded by default, checkpoints,
flushes to PostgreSQL beside it) and, in turn in the same process, the same training by a careful
expert and by PyTorch's tutorial (benchmarks/plain_loops.py). All have the same network, samples,
batch and device, and evaluate each epoch. Where a CUDA device is, all of them are there.

    .venv/bin/python -m benchmarks.bench_training [--quick] [--peers]
"""

import sys
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from benchmarks.alternating import EPOCHS_A_TURN
from benchmarks.measuring import Line, asked, conclude, middle, ratios_of
from benchmarks.service import Service, service
from benchmarks.supervised import DEVICE, Timing, Way, settings_of, train_in_rounds
from worker.forkserver import start_forkserver

PROCESSES, QUICK_PROCESSES = 3, 1
ROUNDS, QUICK_ROUNDS = 8, 1
EXPERT_GOAL, TUTORIAL_GOAL = 0.98, 1.3


def _way(network: str, shape: list[int], batch_size: int, batches: int) -> Way:
    dataset: dict[str, Any] = {"name": "synthetic", "shape": shape, "classes": 10}
    sizes = {"train_samples": batch_size * batches, "test_samples": 320}
    return Way(
        "alternating:racing",
        spec={
            "dataset": dataset | sizes,
            "network": {"name": network},
            "batch_size": batch_size,
            "evaluate": {"batch_size": 64},
            "optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.9},
        },
    )


WAYS = {
    "lenet5, 3 x 32 x 32, batches of 64": _way("lenet5", [3, 32, 32], 64, 40),
    "lenet5, 3 x 32 x 32, batches of 4, as the tutorial has them": _way(
        "lenet5", [3, 32, 32], 4, 400
    ),
    "small_cnn, 1 x 28 x 28, batches of 64": _way("small_cnn", [1, 28, 28], 64, 10),
}


QUICK_WAYS = {"lenet5, a few batches": _way("lenet5", [3, 32, 32], 64, 3)}


def measure(running: Service, ways: Mapping[str, Way], processes: int, rounds: int) -> list[Line]:
    settings = settings_of(running)
    lines = [Line("device", DEVICE)]
    for name, way in ways.items():
        timings: dict[str, list[Timing]] = defaultdict(list)
        for _ in range(processes):
            for turn, found in train_in_rounds(running, settings, way, rounds).items():
                timings[turn] += found
        samples = EPOCHS_A_TURN * int(way.spec["dataset"]["train_samples"])
        lines += _lines(name, samples, timings)
    return lines


def _lines(name: str, samples: int, timings: dict[str, list[Timing]]) -> list[Line]:
    seconds = {turn: [each.wall for each in found] for turn, found in timings.items()}
    lines = [
        Line(f"{name}: {turn}", f"{samples / middle(found):,.0f} samples/s")
        for turn, found in seconds.items()
        if turn != "again"
    ]
    expert = ratios_of(seconds["expert"], seconds["service"])
    control = ratios_of(seconds["expert"], seconds["again"])
    tutorial = ratios_of(seconds["tutorial"], seconds["service"])
    pairs = len(seconds["service"])
    return [
        *lines,
        Line(
            f"{name}: samples/s over the expert's, {pairs} pairs",
            str(expert),
            f"lower end at least {EXPERT_GOAL}",
            expert.low >= EXPERT_GOAL,
        ),
        Line(f"{name}: control: the expert's over the expert's", str(control)),
        Line(
            f"{name}: samples/s over the tutorial's",
            str(tutorial),
            f"at least {TUTORIAL_GOAL}",
            tutorial.median >= TUTORIAL_GOAL,
        ),
    ]


def main() -> int:
    run = asked(sys.argv)
    start_forkserver()
    with service() as running:
        if run.quick:
            lines = measure(running, QUICK_WAYS, QUICK_PROCESSES, QUICK_ROUNDS)
        else:
            lines = measure(running, WAYS, PROCESSES, ROUNDS)
    return conclude("Training speed", lines, run)


if __name__ == "__main__":
    sys.exit(main())
