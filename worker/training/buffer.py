"""Iterations' scalars, kept on the device until a whole run of them is copied out.

An iteration only leaves references: to what the host knows (numbers, learning rate), and to what
the device alone knows (loss, gradient norm, right answers, a skipped update), which stays where
it is. Only `take`, a few times a second, puts them together, by one operation a column, and waits
for the device. Where the host computes itself nothing has to be waited for, and numbers are read at
once: many small tensors that are kept alive cost its allocator more.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.rows import ROW_DTYPE, Rows

_KNOWN = ("iteration", "epoch", "batch", "samples", "lr")


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
    """Room for `capacity` iterations; the caller takes them out before there are more.

    Args:
        capacity: how many.
        device: where they are computed.
        at_once: whether numbers are read as they come; left out: where that waits for nothing.

    """

    def __init__(self, capacity: int, device: torch.device, *, at_once: bool | None = None) -> None:
        self.capacity, self.device = capacity, device
        on_gpu = device.type == "cuda"
        self.clock: Clock = DeviceClock(capacity) if on_gpu else HostClock(capacity)
        self._read = _item if at_once or (at_once is None and not on_gpu) else _as_it_is
        self._kept: list[tuple[Any, ...]] = []

    @property
    def filled(self) -> int:
        return len(self._kept)

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
        self.clock.mark(len(self._kept))
        read = self._read
        self._kept.append((*row, read(loss), read(correct), read(grad_norm), read(skipped)))

    def take(self) -> Drained | None:
        """Copy out what was kept since the last take, waiting for the device."""
        count = len(self._kept)
        if count == 0:
            return None
        *known, losses, correct, norms, skipped = zip(*self._kept, strict=True)
        rows = np.zeros(count, ROW_DTYPE)
        for name, column in zip(_KNOWN, known, strict=True):
            rows[name] = column
        rows["loss"] = _numbers(losses)
        rows["has_grad_norm"] = [norm is not None for norm in norms]
        rows["grad_norm"] = _numbers(norms)
        rows["seconds"] = self.clock.seconds(count)
        _make_nans_alike(rows)
        self._kept.clear()
        return Drained(rows, _numbers(correct), _numbers(skipped))


def _item(number: Tensor | None) -> float | None:
    return None if number is None else number.item()


def _as_it_is(number: Tensor | None) -> Tensor | None:
    return number


def _numbers(column: Sequence[Tensor | float | None]) -> npt.NDArray[np.float64]:
    """Copy numbers from the device, by one operation; 0 where there is none."""
    places = [place for place, number in enumerate(column) if number is not None]
    tensors = [number for number in column if isinstance(number, Tensor)]
    values = np.zeros(len(column))
    if tensors:
        values[places] = torch.stack(tensors).double().cpu().numpy()
    else:
        values[places] = [number for number in column if number is not None]
    return values


def _make_nans_alike(rows: Rows) -> None:
    """Give every NaN the same 64 bits: which ones it was born with depends on the processor.

    Who reads the word "NaN" makes these bits of it, so hashes over losses can be repeated.
    """
    for name in ("loss", "lr", "grad_norm", "seconds"):
        column = rows[name]
        column[np.isnan(column)] = np.nan
