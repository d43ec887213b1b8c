"""From measured iterations to the sink: in order, a few times a second, and with a judgement.

Whether a loss is finite is only known when its row arrives here. With `on_non_finite: fail`
the first row whose loss is not ends the book: rows and readings after it were computed but are
not delivered, and Diverged is raised. A checkpoint and an epoch are booked only after a
delivery, so nothing that stands in the book comes from behind such a row. An fp16 iteration
whose update the scaler skipped has harmed no weight and is no divergence: the next may do better.
MOST_LOST of them in a row without a finite loss are one: a smaller scale mends gradients, but not
a forward pass that overflows, and the weights would never move again.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from models.rows import Rows
from worker.training.buffer import Drained, ScalarBuffer
from worker.training.errors import Diverged
from worker.training.health import find_ailing
from worker.training.learner import Update
from worker.training.sink import Sink
from worker.training.state import LoopState, Spent
from worker.training.stopwatch import Stopwatch

DELIVER_SECONDS = 0.25
MOST_LOST = 10

ToReadings = Callable[[Tensor], list[dict[str, Any]]]


class Recorder:
    """Books iterations and keeps the sums of the running epoch."""

    def __init__(
        self,
        sink: Sink,
        watch: Stopwatch,
        buffer: ScalarBuffer,
        to_readings: ToReadings,
        *,
        fail_on_non_finite: bool,
        scaled: bool,
    ) -> None:
        self._sink, self._watch, self._buffer = sink, watch, buffer
        self._waited = sink.waited_seconds
        self._to_readings = to_readings
        self._fail, self._scaled = fail_on_non_finite, scaled
        self._readings: list[tuple[int, Tensor]] = []
        self._due = 0.0
        self._any_delivered = False

    def record(self, state: LoopState, samples: int, lr: float, update: Update) -> None:
        """Keep the iteration that `state` has just finished."""
        row = (state.iteration, state.epoch, state.batch, samples, lr)
        self._buffer.write(row, update.loss, update.correct, update.grad_norm, update.skipped)
        if update.layers is not None:
            self._readings.append((state.iteration, update.layers))

    def deliver_if_due(self, state: LoopState) -> None:
        """Deliver after the first iteration of all, when some time has passed, or when full."""
        full = self._buffer.filled == self._buffer.capacity
        if full or not self._any_delivered or time.perf_counter() >= self._due:
            self.deliver(state)

    def deliver(self, state: LoopState) -> None:
        """Deliver all that was recorded.

        Raises:
            Diverged: after the row of the first loss that is not finite, or of the last that was
                waited for a finite one.

        """
        drained = self._buffer.take()
        self._due = time.perf_counter() + DELIVER_SECONDS
        if drained is None:
            return
        self._any_delivered = True
        self._watch.fold(state.sums)
        bad = _first_bad(drained, state)
        if bad is not None and self._fail:
            self._send(state, drained.rows[: bad + 1])
            last = drained.rows[bad]
            raise Diverged(int(last["iteration"]), float(last["loss"]))
        self._send(state, drained.rows)
        _add(state, drained)
        if bad is not None and not state.warned_non_finite:
            state.warned_non_finite = True
            iteration = int(drained.rows["iteration"][bad])
            self._sink.warning("a loss is not finite; training goes on", {"iteration": iteration})

    def restart_clock(self) -> None:
        """Say that what was done since the last iteration belongs to none."""
        self._buffer.clock.restart()

    def _send(self, state: LoopState, rows: Rows) -> None:
        self._sink.rows(rows)
        last = int(rows["iteration"][-1])
        for iteration, values in self._readings:
            if iteration <= last:
                readings = self._to_readings(values)
                self._sink.layers(iteration, readings)
                for ill, layers in find_ailing(state.ailing, readings, scaled=self._scaled):
                    self._sink.warning(ill, {"iteration": iteration, "layers": layers})
        self._readings.clear()
        before, self._waited = self._waited, self._sink.waited_seconds
        state.sums.spend(Spent.WAITING, self._waited - before)


def _first_bad(drained: Drained, state: LoopState) -> int | None:
    odd = ~np.isfinite(drained.rows["loss"])
    if not odd.any():
        state.lost_in_a_row = 0
        return None
    skipped = drained.skipped != 0
    for at, (is_odd, is_skipped) in enumerate(zip(odd.tolist(), skipped.tolist(), strict=True)):
        state.lost_in_a_row = state.lost_in_a_row + 1 if is_odd and is_skipped else 0
        if (is_odd and not is_skipped) or state.lost_in_a_row >= MOST_LOST:
            return at
    return None


def _add(state: LoopState, drained: Drained) -> None:
    """Add rows to the epoch's sums one by one: the sum must not depend on when rows came."""
    sums, rows = state.sums, drained.rows
    for loss, samples in zip(rows["loss"].tolist(), rows["samples"].tolist(), strict=True):
        sums.loss += loss * samples
        sums.samples += samples
    state.last_loss = float(rows["loss"][-1])
    sums.batches += len(rows)
    sums.correct += int(drained.correct.sum())
    sums.skipped += int(drained.skipped.sum())
    sums.seconds += float(rows["seconds"].sum())
