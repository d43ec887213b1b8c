"""Iterations' scalars, kept on the device until a whole run of them is copied out.

What the host knows (numbers, learning rate) is written into host rows at once; what only the
device knows (loss, gradient norm, right answers, a skipped update) into a preallocated tensor,
by copies on the device's own queue. Only `take`, a few times a second, waits for the device.
"""

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.rows import ROW_DTYPE, Rows

LOSS, CORRECT, GRAD_NORM, SKIPPED = range(4)
_COLUMNS = 4


@dataclass(frozen=True, slots=True)
class Drained:
    """Rows that have arrived, with what their epoch's sums need."""

    rows: Rows
    correct: npt.NDArray[np.float64]
    skipped: npt.NDArray[np.float64]


class Clock(Protocol):
    """How long each iteration took."""

    def restart(self) -> None:
        """Begin to count anew: what came before belongs to no iteration."""

    def mark(self, slot: int) -> None:
        """End the iteration of `slot`."""

    def seconds(self, count: int) -> npt.NDArray[np.float64]:
        """Return the seconds of slots 0…count - 1, which the device has finished."""


class HostClock:
    def __init__(self, capacity: int) -> None:
        self._seconds = np.zeros(capacity)
        self.restart()

    def restart(self) -> None:
        self._last = time.perf_counter()

    def mark(self, slot: int) -> None:
        now = time.perf_counter()
        self._seconds[slot] = now - self._last
        self._last = now

    def seconds(self, count: int) -> npt.NDArray[np.float64]:
        return self._seconds[:count].copy()


class DeviceClock:
    """CUDA's own events: the host runs ahead, so its clock would measure launches."""

    def __init__(self, capacity: int) -> None:
        self._ends = [_timer() for _ in range(capacity)]
        self._starts = [self._ends[0]] * capacity
        self.restart()

    def restart(self) -> None:
        self._last = _timer()
        self._last.record()

    def mark(self, slot: int) -> None:
        self._starts[slot] = self._last
        self._ends[slot].record()
        self._last = self._ends[slot]

    def seconds(self, count: int) -> npt.NDArray[np.float64]:
        pairs = zip(self._starts[:count], self._ends[:count], strict=True)
        return np.array([start.elapsed_time(end) / 1e3 for start, end in pairs])


def _timer() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


class ScalarBuffer:
    """Room for `capacity` iterations; the caller takes them out before there are more."""

    def __init__(self, capacity: int, device: torch.device) -> None:
        self.capacity, self.device = capacity, device
        on_gpu = device.type == "cuda"
        self.clock: Clock = DeviceClock(capacity) if on_gpu else HostClock(capacity)
        self._values = torch.zeros(capacity, _COLUMNS, dtype=torch.float64, device=device)
        self._rows = np.zeros(capacity, dtype=ROW_DTYPE)
        self._filled = 0

    @property
    def filled(self) -> int:
        return self._filled

    def write(
        self,
        row: tuple[int, int, int, int, float],
        loss: Tensor,
        correct: Tensor,
        grad_norm: Tensor | None,
        skipped: Tensor | None,
    ) -> None:
        """Keep one iteration. `row`: iteration, epoch, batch, samples, lr."""
        slot = self._filled
        iteration, epoch, batch, samples, lr = row
        has_norm = grad_norm is not None
        self._rows[slot] = (iteration, epoch, batch, samples, 0.0, lr, 0.0, has_norm, 0.0)
        values = self._values[slot]
        values[LOSS] = loss
        values[CORRECT] = correct
        if grad_norm is not None:
            values[GRAD_NORM] = grad_norm
        if skipped is not None:
            values[SKIPPED] = skipped
        self.clock.mark(slot)
        self._filled += 1

    def take(self) -> Drained | None:
        """Copy out what was kept since the last take, waiting for the device once."""
        count = self._filled
        if count == 0:
            return None
        values = self._values[:count].cpu().numpy().copy()
        rows = self._rows[:count].copy()
        rows["loss"] = values[:, LOSS]
        rows["grad_norm"] = values[:, GRAD_NORM]
        rows["seconds"] = self.clock.seconds(count)
        _make_nans_alike(rows)
        self._values.zero_()
        self._filled = 0
        return Drained(rows, values[:, CORRECT], values[:, SKIPPED])


def _make_nans_alike(rows: Rows) -> None:
    """Give every NaN the same 64 bits: which ones it was born with depends on the processor.

    Who reads the word "NaN" makes these bits of it, so hashes over losses can be repeated.
    """
    for name in ("loss", "lr", "grad_norm", "seconds"):
        column = rows[name]
        column[np.isnan(column)] = np.nan
