"""Where a program stands, and what of it is in the book; what it says comes through `Run`."""

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import torch

from models.domain.checkpoints import Resumed
from models.domain.lifecycle import Phase, Wish
from models.domain.metrics import MetricKind
from worker.program.judging import best_by, judge
from worker.program.keeping import Standing, pack, unpack
from worker.training.buffer import ScalarBuffer
from worker.training.checkpoint import find_newest
from worker.training.epochs import book_of, summary_of
from worker.training.errors import Cancelled, ProgramMisused, Suspended
from worker.training.files import Store, Stored
from worker.training.learner import Update
from worker.training.proof import Proof
from worker.training.pulse import Pulse
from worker.training.randomness import restore_random_states
from worker.training.recorder import Recorder
from worker.training.saving import Saving
from worker.training.sink import Sink, StopSignal, TrainRequest
from worker.training.state import EpochSums, LoopState, Spent
from worker.training.stopping import Measurements
from worker.training.stopwatch import spending, stopwatch_of

_BUFFER_ITERATIONS = 1024


class Ledger:
    """One attempt of a program, as far as the book is concerned.

    Args:
        request: the attempt.
        sink: told of everything.
        signal: what somebody wants.
        pulse: shows life, and hears a cancel.
        kind: of the machine and the code, as `kind_of` says it.

    Raises (every method that reports):
        Cancelled: somebody wants the job gone; all that was told is delivered.
        ProgramMisused: it was called in another process.

    """

    def __init__(
        self,
        request: TrainRequest,
        sink: Sink,
        signal: StopSignal,
        pulse: Pulse,
        kind: dict[str, Any],
    ) -> None:
        self._request, self._sink, self._signal, self._pulse = request, sink, signal, pulse
        self.device = torch.device(request.device)
        self.store = Store(request.artifacts_url, request.attempt)
        self.state, self._kind = LoopState(), kind
        self._proof = Proof(str(request.spec["program"]["entrypoint"]))
        self._every_seconds = float(request.spec["checkpoint"]["every_seconds"])
        self._recorder = Recorder(
            sink,
            stopwatch_of(self.device),
            ScalarBuffer(_BUFFER_ITERATIONS, self.device),
            lambda _: [],
            fail_on_non_finite=False,
            scaled=False,
        )
        self._saving = Saving(sink)
        self.begun = False
        self._saved_at = (0, 1)
        self._due = time.perf_counter() + self._every_seconds
        self.ending: Exception | None = None
        self._process = os.getpid()

    def begin(self) -> None:
        """Tell where the program goes on, before anything else is told; later do nothing."""
        self._require_to_go_on()
        if not self.begun:
            self.begun = True
            state = self.state
            self._sink.resumed(Resumed(state.iteration, state.epoch - 1, not state.mixed))
            self._saved_at, self._pulse.iteration = (state.iteration, state.epoch), state.iteration
            self._train_on()

    def go_on(self, objects: Mapping[str, Any]) -> dict[str, Any]:
        """Put back the newest good checkpoint, where there is one; return its plain values."""
        kept = find_newest(self._request.checkpoints, self._saving.unusable)
        if kept is None:
            return {}
        values = unpack(kept, objects)
        self.state = LoopState.from_plain(kept["state"])
        restore_random_states(kept["random"], self.device)
        if kept["kind"] != self._kind:
            self.state.mixed = True
            change = {"from": kept["kind"], "to": self._kind, "iteration": self.state.iteration}
            self._sink.warning("not to the bit: it goes on on another kind of machine", change)
        return values

    def record(self, samples: int, lr: float, update: Update) -> None:
        """Book a weight update."""
        self.state.iteration += 1
        self.state.batch += 1
        self._recorder.record(self.state, samples, lr, update)
        self._recorder.deliver_if_due(self.state)
        self.hear()

    def measure(self, values: Mapping[str, float]) -> None:
        """Book numbers of the iteration that was told last."""
        self._sink.metrics(self.state.iteration, values)
        self.hear()

    def has_open_epoch(self) -> bool:
        """Whether there was an iteration since the last epoch; delivers what was told."""
        self._recorder.deliver(self.state)
        return self.state.sums.batches > 0

    def close_epoch(self, measured: Measurements, metrics: Mapping[str, float]) -> None:
        """Book the iterations since the last epoch as one; there are some."""
        state = self.state
        measured = {"train_loss": state.sums.train_loss, "train_accuracy": None} | measured
        judge(state, measured)
        if metrics:
            self._sink.metrics(state.iteration, metrics, MetricKind.EPOCH)
        # How long it has evaluated, it has not told.
        self._sink.epoch(book_of(state, measured) | {"evaluation_seconds": None})
        self.tell_summary(final=False)
        state.epoch, state.batch, state.sums = state.epoch + 1, 0, EpochSums()
        self._recorder.restart_clock()
        self.hear()

    @property
    def checkpoint_due(self) -> bool:
        """It is time for one, or somebody wants the job to go on later."""
        return self._leaving or time.perf_counter() >= self._due

    def save(self, objects: Mapping[str, Any]) -> bool:
        """Write a checkpoint; return whether it was written.

        Raises:
            Suspended: somebody wants the job to go on later.

        """
        leaving = self._leaving
        saved = self._save(objects)
        if leaving:
            self._end(Suspended(self.state.iteration))
        self._due = time.perf_counter() + self._every_seconds
        self._train_on()
        return saved

    def hear(self) -> None:
        """Show life, and hear a cancel."""
        self._require_to_go_on()
        self._pulse.iteration = self.state.iteration
        self._pulse.stand(self.state.epoch, self.state.batch)
        self._heed(self._pulse.beat)

    def enter(self, phase: Phase) -> None:
        """Say what begins now."""
        self._heed(lambda: self._pulse.enter(phase, self.state.epoch, self.state.batch))

    def tell_summary(self, *, final: bool) -> None:
        self._sink.summary(summary_of(best_by(self.state), self.state, final=final))

    def deliver(self) -> None:
        """Send all that was told, where anything was, and where this is its process."""
        if self.begun and os.getpid() == self._process:
            self._recorder.deliver(self.state)

    @property
    def _leaving(self) -> bool:
        return self._signal.wanted() is Wish.PAUSE

    def _save(self, objects: Mapping[str, Any]) -> bool:
        state = self.state
        self._recorder.deliver(state)
        self.enter(Phase.SAVE)
        here = (state.iteration, state.epoch)
        if here == self._saved_at:
            return False
        with spending(state.sums, Spent.CHECKPOINT):
            content = pack(objects, Standing(state, self.device, self._kind), self._proof)
            written = self._saving.write(state.iteration, lambda: self._write(content))
        if written:
            self._saved_at = here
        return written

    def _write(self, content: bytes) -> Stored:
        # Two of one iteration, before and after its epoch: the row of the first names its file
        # until that of the second is booked.
        name = f"checkpoint-{self.state.iteration:012d}-{self.state.epoch - 1}.pt"
        return self.store.write(name, content)

    def _train_on(self) -> None:
        self.enter(Phase.TRAIN)
        self._recorder.restart_clock()

    def _heed(self, beat: Callable[[], None]) -> None:
        try:
            beat()
        except (Cancelled, Suspended) as ending:
            self.deliver()
            self._end(ending)

    def _end(self, ending: Exception) -> NoReturn:
        self.ending = ending
        raise ending

    def _require_to_go_on(self) -> None:
        if os.getpid() != self._process:
            raise ProgramMisused("only the process that main was called in can report")
        if self.ending is not None:
            # It was caught on its way.
            raise self.ending
