"""Where an iteration's time goes, without a synchronisation for it.

On a CPU every iteration is taken apart by the clock. On a GPU the host runs ahead, so its clock
would measure launches: CUDA's own events are left in the stream instead, in the first and every
SAMPLED_EVERY-th batch after it, and read once the device has passed them, when rows are copied out
anyway. An epoch's seconds are then those of the sample times what it stands for.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch

from worker.training.state import EpochSums, Spent

SAMPLED_EVERY = 16


Lap = Callable[[Spent], None]
"""Called where a part of an iteration ends."""


class Stopwatch:
    """Takes iterations apart.

    Args:
        now: leaves a mark where the device's work has come to.
        between: seconds from one mark to another, both of which the device has passed.
        every: which iterations are taken apart.

    """

    def __init__(
        self, now: Callable[[], Any], between: Callable[[Any, Any], float], every: int
    ) -> None:
        self._now, self._between, self._every = now, between, every
        self._marks: list[tuple[Spent | None, Any]] = []
        self._sampled, self._on = 0, False

    def begin(self, batch: int) -> None:
        """Begin the epoch's batch of this number, from 1; its parts follow."""
        self._on = (batch - 1) % self._every == 0
        if self._on:
            self._sampled += 1
            self._marks.append((None, self._now()))

    def lap(self, part: Spent) -> None:
        """End a part, which began where the one before it ended."""
        if self._on:
            self._marks.append((part, self._now()))

    def fold(self, sums: EpochSums) -> None:
        """Add what was measured to the epoch's sums; the device has done all of it."""
        for (_, began), (part, ended) in pairwise(self._marks):
            if part is not None:
                sums.spend(part, self._between(began, ended))
        sums.sampled += self._sampled
        self._marks.clear()
        self._sampled = 0


def stopwatch_of(device: torch.device) -> Stopwatch:
    if device.type == "cuda":
        return Stopwatch(_event, _between_events, SAMPLED_EVERY)
    return Stopwatch(time.perf_counter, _between_times, 1)


@contextmanager
def spending(sums: EpochSums, part: Spent) -> Iterator[None]:
    """Add the seconds of the block, by the host's clock, whatever becomes of it."""
    began = time.perf_counter()
    try:
        yield
    finally:
        sums.spend(part, time.perf_counter() - began)


def _between_times(began: float, ended: float) -> float:
    return ended - began


def _event() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


def _between_events(began: torch.cuda.Event, ended: torch.cuda.Event) -> float:
    return float(began.elapsed_time(ended)) / 1e3
