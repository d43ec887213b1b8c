"""What a program reports to, and how it hears what somebody wants."""

import math
import os
import time
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from models.domain.checkpoints import Kept, Resumed
from models.domain.lifecycle import Phase, StopReason, Wish
from models.domain.metrics import MetricKind
from worker.program.keeping import NETWORK, Standing, pack, prove, unpack, weights_of
from worker.training.artifacts import leave, safetensors
from worker.training.buffer import ScalarBuffer
from worker.training.checkpoint import find_newest
from worker.training.epochs import book_of, summary_of
from worker.training.errors import Cancelled, ProgramMisused, StoreFailed, Suspended
from worker.training.files import Store
from worker.training.learner import Update
from worker.training.pulse import Pulse
from worker.training.randomness import restore_random_states
from worker.training.recorder import Recorder
from worker.training.sink import Ended, Sink, StopSignal, TrainRequest
from worker.training.state import Best, EpochSums, LoopState, Spent
from worker.training.stopping import Monitor
from worker.training.stopwatch import spending, stopwatch_of

Value: TypeAlias = Tensor | float
"""A number; a tensor of one stays on its device until it is delivered."""

_BUFFER_ITERATIONS = 1024
_MOST_SAMPLES = 2**31 - 1
_MEASURED = ("val_loss", "val_accuracy", "test_loss", "test_accuracy")
_EPOCH = ("train_loss", "train_accuracy", *_MEASURED)


class Run:
    """A program's way to the book; for the thread that `main` was called in, and its process.

    Any method raises `Cancelled` once somebody wants the job gone, and `checkpoint` raises
    `Suspended` once somebody wants it to go on later: a program lets both pass.

    Attributes:
        device: "cpu" or "cuda:N", where the program is to compute.
        seed: the spec's; torch, NumPy and Python are seeded with it.
        threads: the spec's; torch has them.
        attempt: counted from 1.

    """

    def __init__(
        self,
        request: TrainRequest,
        sink: Sink,
        signal: StopSignal,
        pulse: Pulse,
        kind: dict[str, Any],
    ) -> None:
        spec = request.spec
        self.device, self.attempt = request.device, request.attempt
        self.seed, self.threads = int(spec["seed"]), int(spec["threads"])
        self._name = str(spec["program"]["entrypoint"])
        self._every_seconds = float(spec["checkpoint"]["every_seconds"])
        self._request, self._sink, self._signal, self._pulse = request, sink, signal, pulse
        self._device = torch.device(request.device)
        self._store = Store(request.artifacts_url, request.attempt)
        self._recorder = Recorder(
            sink,
            stopwatch_of(self._device),
            ScalarBuffer(_BUFFER_ITERATIONS, self._device),
            lambda _: [],
            fail_on_non_finite=False,
            scaled=False,
        )
        self._nothing = torch.zeros((), dtype=torch.int64, device=self._device)
        self._state, self._kind = LoopState(), kind
        self._begun = self._told_to_stop = self._warned_of_store = self._proven = False
        self._saved_at = (0, 1)
        self._due = time.perf_counter() + self._every_seconds
        self._network: nn.Module | None = None
        self._ending: Exception | None = None
        self._process = os.getpid()

    @property
    def iterations_done(self) -> int:
        """Those that are in the book: a program that has resumed goes on after them."""
        return self._state.iteration

    @property
    def epochs_done(self) -> int:
        return self._state.epoch - 1

    def iteration(
        self,
        *,
        loss: Value,
        samples: int,
        lr: float = math.nan,
        grad_norm: Value | None = None,
    ) -> None:
        """Book a weight update: its loss, the mean over its samples.

        A loss that is a tensor on a device costs no synchronisation.
        """
        self._begin()
        if not 0 <= samples <= _MOST_SAMPLES:
            raise ProgramMisused(f"iteration: samples are a whole number from 0, not {samples}")
        state = self._state
        update = Update(
            loss=self._number("loss", loss),
            correct=self._nothing,
            grad_norm=None if grad_norm is None else self._number("grad_norm", grad_norm),
            skipped=None,
            layers=None,
        )
        state.iteration += 1
        state.batch += 1
        self._recorder.record(state, int(samples), float(lr), update)
        self._recorder.deliver_if_due(state)
        self._hear()

    def metric(self, name: str, value: Value) -> None:
        """Book a number of the program's own, of the iteration that was told last."""
        self._begin()
        if not self._state.iteration:
            raise ProgramMisused("metric: there was no iteration yet")
        self._sink.metrics(self._state.iteration, {name: float(value)})
        self._hear()

    def epoch(self, **measured: Value) -> None:
        """Book an epoch: the iterations since the last one.

        `train_loss` is the mean over their samples unless it is told. `train_accuracy`, `val_loss`,
        `val_accuracy`, `test_loss` and `test_accuracy` have columns of their own, other names are
        metrics of the epoch.
        """
        self._begin()
        state = self._state
        self._recorder.deliver(state)
        if not state.sums.batches:
            raise ProgramMisused("epoch: there was no iteration since the last one")
        numbers = {name: float(value) for name, value in measured.items()}
        told = {"train_loss": state.sums.train_loss, "train_accuracy": None}
        told |= {name: numbers.pop(name) for name in _EPOCH if name in numbers}
        self._judge(told)
        if numbers:
            self._sink.metrics(state.iteration, numbers, MetricKind.EPOCH)
        # How long it has evaluated, it has not told.
        self._sink.epoch(book_of(state, told) | {"evaluation_seconds": None})
        self._sink.summary(summary_of(self._best_by(), state, final=False))
        state.epoch, state.batch, state.sums = state.epoch + 1, 0, EpochSums()
        self._recorder.restart_clock()
        self._hear()

    @property
    def checkpoint_due(self) -> bool:
        """Whether `checkpoint` would write one now."""
        leaving = self._signal.wanted() is Wish.PAUSE
        return leaving or time.perf_counter() >= self._due

    def checkpoint(self, **objects: Any) -> bool:  # noqa: ANN401 - whatever a program goes on from
        """Save where the program stands, if it is time to, or if somebody wants it to go on later.

        Call it wherever `resume` can go on from. Of an object with a `state_dict` that is saved,
        of anything else the value, which is tensors and plain values. `network` is the one whose
        weights are the job's. Random states are saved too.

        Returns:
            Whether it was saved.

        Raises:
            Suspended: somebody wants the job to go on later.

        """
        self._begin()
        if isinstance(objects.get(NETWORK), nn.Module):
            self._network = objects[NETWORK]
        if not self.checkpoint_due:
            return False
        leaving = self._signal.wanted() is Wish.PAUSE
        with spending(self._state.sums, Spent.CHECKPOINT):
            saved = self._save(objects)
        if leaving:
            self._end(Suspended(self._state.iteration))
        self._due = time.perf_counter() + self._every_seconds
        self._pulse.enter(Phase.TRAIN, self._state.epoch, self._state.batch)
        self._recorder.restart_clock()
        return saved

    def resume(self, **objects: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever it goes on from
        """Go on from the newest good checkpoint, where there is one; call it once, before all else.

        Each object gets its state back, by `load_state_dict`.

        Returns:
            The values that were saved beside the objects; none at the start.

        """
        if self._begun:
            raise ProgramMisused("resume: something was reported already")
        if isinstance(objects.get(NETWORK), nn.Module):
            self._network = objects[NETWORK]
        kept = find_newest(self._request.checkpoints, self._unusable)
        values: dict[str, Any] = {}
        if kept is not None:
            values = unpack(kept, objects)
            self._state = LoopState.from_plain(kept["state"])
            restore_random_states(kept["random"], self._device)
            if kept["kind"] != self._kind:
                self._state.mixed = True
                change = {"from": kept["kind"], "to": self._kind}
                message = "not to the bit: it goes on on another kind of machine"
                self._sink.warning(message, change | {"iteration": self._state.iteration})
        self._begin()
        return values

    def keep(self, *, network: nn.Module) -> None:
        """Name the module whose weights are the job's, where no checkpoint does."""
        self._network = network

    @property
    def should_stop(self) -> bool:
        """Whether somebody wants the program to come to an end: to save, and to return."""
        self._hear()
        self._told_to_stop |= self._signal.wanted() is Wish.STOP
        return self._told_to_stop

    def alive(self) -> None:
        """Show life, in what takes long and has no iterations."""
        self._hear()

    def finish(self) -> Ended:
        """Close the book of a program that has returned; for who has called it."""
        if self._ending is not None:
            # It was caught on its way.
            raise self._ending
        self._begin()
        if self._recorded():
            self.epoch()
        sha256 = None
        if self._network is not None:
            self._pulse.enter(Phase.SAVE, self._state.epoch, self._state.batch)
            content = safetensors(weights_of(self._network))
            sha256 = leave(self._store, self._sink, "weights.safetensors", "weights", content)
        self._sink.summary(summary_of(self._best_by(), self._state, final=True))
        reason = StopReason.STOPPED if self._told_to_stop else StopReason.RETURNED
        return Ended(reason, self._state.iteration, None, sha256)

    def deliver(self) -> None:
        """Send all that was told; for who has called a program that did not return."""
        if self._begun and os.getpid() == self._process:
            self._recorder.deliver(self._state)

    def _recorded(self) -> bool:
        self._recorder.deliver(self._state)
        return self._state.sums.batches > 0

    def _begin(self) -> None:
        self._require_own_process()
        if self._ending is not None:
            raise self._ending
        if not self._begun:
            self._begun = True
            state = self._state
            self._sink.resumed(Resumed(state.iteration, state.epoch - 1, not state.mixed))
            self._saved_at, self._pulse.iteration = (state.iteration, state.epoch), state.iteration
            self._pulse.enter(Phase.TRAIN, state.epoch, state.batch)
            self._recorder.restart_clock()

    def _hear(self) -> None:
        """Show life, and hear a cancel."""
        self._require_own_process()
        if self._ending is not None:
            raise self._ending
        state = self._state
        self._pulse.iteration = state.iteration
        self._pulse.stand(state.epoch, state.batch)
        try:
            self._pulse.beat()
        except (Cancelled, Suspended) as ending:
            self.deliver()
            self._end(ending)

    def _end(self, ending: Exception) -> None:
        self._ending = ending
        raise ending

    def _require_own_process(self) -> None:
        if os.getpid() != self._process:
            raise ProgramMisused("only the process that main was called in can report")

    def _number(self, name: str, value: Value) -> Tensor:
        if isinstance(value, Tensor):
            if value.numel() != 1:
                raise ProgramMisused(f"{name} is one number, not {list(value.shape)}")
            number = value.detach().reshape(()).to(self._device, torch.float64)
            # It is read later, and the program may go on computing in it.
            return number.clone() if number.data_ptr() == value.data_ptr() else number
        return torch.tensor(float(value), dtype=torch.float64, device=self._device)

    def _save(self, objects: dict[str, Any]) -> bool:
        state = self._state
        self._recorder.deliver(state)
        self._pulse.enter(Phase.SAVE, state.epoch, state.batch)
        here = (state.iteration, state.epoch)
        if here == self._saved_at:
            return False
        content = pack(objects, Standing(state, self._device, self._kind))
        if not self._proven:
            prove(self._name, content)
            self._proven = True
        try:
            stored = self._store.write(f"checkpoint-{state.iteration:012d}.pt", content)
        except StoreFailed as failure:
            self._warn_of_store(failure)
            return False
        facts = {"uri": stored.uri, "sha256": stored.sha256, "bytes": stored.bytes}
        self._sink.checkpoint({"iteration": state.iteration, **facts})
        self._saved_at, self._warned_of_store = here, False
        return True

    def _warn_of_store(self, failure: StoreFailed) -> None:
        if not self._warned_of_store:
            self._warned_of_store = True
            data = {"iteration": self._state.iteration, "reason": str(failure)}
            self._sink.warning("a checkpoint could not be written; training goes on", data)

    def _unusable(self, checkpoint: Kept, reason: str) -> None:
        data = {"iteration": checkpoint.iteration, "reason": reason}
        self._sink.warning("a checkpoint can't be used; the one before it is tried", data)

    def _judge(self, told: dict[str, float | None]) -> None:
        """Remember what was measured last, and what was best."""
        state = self._state
        before = self._best_by()
        state.measured |= told
        if self._best_by() != before:
            # Two metrics can't be compared.
            state.best = None
        loss = told["train_loss"]
        best_loss = math.inf if state.best_loss is None else state.best_loss
        if loss is not None and loss < best_loss:
            state.best_loss = loss
        monitor = Monitor(self._best_by(), rising=False)
        value = told.get(monitor.metric)
        if value is not None and monitor.better(value, state.best.value if state.best else None):
            state.best = Best(value, state.epoch, state.iteration)

    def _best_by(self) -> str:
        return "val_loss" if self._state.measured.get("val_loss") is not None else "train_loss"
