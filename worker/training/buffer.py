"""Iterations' scalars, kept on the device until a whole run of them is copied out.

What the host knows (numbers, learning rate) is written into host rows at once. What only the device
knows (loss, gradient norm, right answers, a skipped update) stays where it is, a reference a
number, and is put together by one operation a column. Only `take`, a few times a second, does
that and waits for the device.
"""

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.rows import ROW_DTYPE, Rows


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


class _Column:
    """Numbers of some slots, on the device; the other slots have 0."""

    def __init__(self) -> None:
        self._slots: list[int] = []
        self._numbers: list[Tensor] = []

    def write(self, slot: int, number: Tensor) -> None:
        self._slots.append(slot)
        self._numbers.append(number)

    def take(self, count: int) -> npt.NDArray[np.float64]:
        """Copy out what slots 0…count - 1 have, waiting for the device."""
        values = np.zeros(count)
        if self._numbers:
            values[self._slots] = torch.stack(self._numbers).double().cpu().numpy()
        self._slots.clear()
        self._numbers.clear()
        return values


class ScalarBuffer:
    """Room for `capacity` iterations; the caller takes them out before there are more."""

    def __init__(self, capacity: int, device: torch.device) -> None:
        self.capacity, self.device = capacity, device
        on_gpu = device.type == "cuda"
        self.clock: Clock = DeviceClock(capacity) if on_gpu else HostClock(capacity)
        self._loss, self._correct = _Column(), _Column()
        self._grad_norm, self._skipped = _Column(), _Column()
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
        """Keep one iteration.

        Args:
            row: iteration, epoch, batch, samples, lr.
            loss: a number on the device, as the others; nobody changes it afterwards.
            correct: how many right answers.
            grad_norm: where it was due.
            skipped: not 0 where the update was.

        """
        slot = self._filled
        iteration, epoch, batch, samples, lr = row
        has_norm = grad_norm is not None
        self._rows[slot] = (iteration, epoch, batch, samples, 0.0, lr, 0.0, has_norm, 0.0)
        self._loss.write(slot, loss)
        self._correct.write(slot, correct)
        if grad_norm is not None:
            self._grad_norm.write(slot, grad_norm)
        if skipped is not None:
            self._skipped.write(slot, skipped)
        self.clock.mark(slot)
        self._filled += 1

    def take(self) -> Drained | None:
        """Copy out what was kept since the last take, waiting for the device once."""
        count = self._filled
        if count == 0:
            return None
        rows = self._rows[:count].copy()
        rows["loss"] = self._loss.take(count)
        rows["grad_norm"] = self._grad_norm.take(count)
        rows["seconds"] = self.clock.seconds(count)
        _make_nans_alike(rows)
        self._filled = 0
        return Drained(rows, self._correct.take(count), self._skipped.take(count))


def _make_nans_alike(rows: Rows) -> None:
    """Give every NaN the same 64 bits: which ones it was born with depends on the processor.

    Who reads the word "NaN" makes these bits of it, so hashes over losses can be repeated.
    """
    for name in ("loss", "lr", "grad_norm", "seconds"):
        column = rows[name]
        column[np.isnan(column)] = np.nan
