"""The learning rate of every iteration: a pure function, so a checkpoint needs none of it.

With W warm-up iterations and T iterations in all, iteration i (from 1) uses, up to W,
first · i / W, where `first` is the schedule's own first rate; then the schedule over the T - W
iterations that are left, t = i - W - 1 counting from 0:

* cosine: min_lr + (lr - min_lr) · (1 + cos(π t / (T - W))) / 2, as torch's CosineAnnealingLR;
* one_cycle: torch's OneCycleLR with its defaults for the rate (cosine from max_lr / 25 up over
  the first 30 %, down to max_lr / 250,000 at the end); momentum stays as it is;
* step: lr · gamma ** ((epoch - 1) // every_epochs), so it drops after every `every_epochs`;
* multi_step: lr · gamma once for each named epoch that has been trained, as torch's MultiStepLR.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_ONE_CYCLE_START = 25.0
_ONE_CYCLE_END = 1e4
_ONE_CYCLE_RISE = 0.3


@dataclass(frozen=True, slots=True)
class Span:
    """The iterations that a schedule covers."""

    iterations_total: int
    batches_per_epoch: int
    warmup_iterations: int

    @property
    def after_warmup(self) -> int:
        return max(1, self.iterations_total - self.warmup_iterations)

    def epoch_of(self, iteration: int) -> int:
        return (iteration - 1) // self.batches_per_epoch + 1


LearningRate = Callable[[int], float]
"""From an iteration, counted from 1, to its learning rate."""


def learning_rate(options: dict[str, Any], lr: float, span: Span) -> LearningRate:
    """Build the schedule that `options` (a spec's resolved `schedule`) names."""
    shape = _SHAPES[options["name"]](options, lr, span)
    warmup = span.warmup_iterations
    if warmup == 0:
        return shape
    first = shape(warmup + 1) if options["name"] in {"cosine", "one_cycle"} else lr

    def warmed(iteration: int) -> float:
        return first * iteration / warmup if iteration <= warmup else shape(iteration)

    return warmed


def _constant(_options: dict[str, Any], lr: float, _span: Span) -> LearningRate:
    return lambda _iteration: lr


def _step(options: dict[str, Any], lr: float, span: Span) -> LearningRate:
    every, gamma = options["every_epochs"], options["gamma"]
    return lambda iteration: lr * gamma ** ((span.epoch_of(iteration) - 1) // every)


def _multi_step(options: dict[str, Any], lr: float, span: Span) -> LearningRate:
    epochs, gamma = tuple(options["epochs"]), options["gamma"]

    def rate(iteration: int) -> float:
        epoch = span.epoch_of(iteration)
        return float(lr * gamma ** sum(trained < epoch for trained in epochs))

    return rate


def _cosine(options: dict[str, Any], lr: float, span: Span) -> LearningRate:
    low = options["min_lr"]

    def rate(iteration: int) -> float:
        step = iteration - span.warmup_iterations - 1
        return float(low + (lr - low) * (1 + math.cos(math.pi * step / span.after_warmup)) / 2)

    return rate


def _one_cycle(options: dict[str, Any], _lr: float, span: Span) -> LearningRate:
    top = options["max_lr"]
    start = top / _ONE_CYCLE_START
    end = start / _ONE_CYCLE_END
    last = span.after_warmup - 1
    peak = _ONE_CYCLE_RISE * span.after_warmup - 1

    def rate(iteration: int) -> float:
        step = iteration - span.warmup_iterations - 1
        if peak > 0 and step <= peak:
            return _eased(start, top, step / peak)
        return _eased(top, end, (step - peak) / max(last - peak, 1e-12))

    return rate


def _eased(start: float, end: float, part: float) -> float:
    return end + (start - end) / 2.0 * (1 + math.cos(math.pi * min(part, 1.0)))


_SHAPES: dict[str, Callable[[dict[str, Any], float, Span], LearningRate]] = {
    "constant": _constant,
    "step": _step,
    "multi_step": _multi_step,
    "cosine": _cosine,
    "one_cycle": _one_cycle,
}
