"""The training loop's five verbs, and the little that they share."""

import copy
import math
import time

from torch import Tensor

from models.domain.checkpoints import Resumed
from models.domain.entrypoints import entrypoints_in
from models.domain.lifecycle import Phase, StopReason, Wish
from models.domain.metrics import MetricKind
from worker.training.buffer import ScalarBuffer
from worker.training.checkpoint import Resumable, load_newest, save_checkpoint
from worker.training.environment import kind_of
from worker.training.epochs import EpochEnd, norm, summary
from worker.training.errors import Cancelled, Suspended
from worker.training.evaluation import Measured
from worker.training.files import Store, Stored
from worker.training.order import epoch_order
from worker.training.parts import Parts
from worker.training.proof import Proof
from worker.training.pulse import Pulse
from worker.training.recorder import Recorder
from worker.training.saving import Saving
from worker.training.sink import Sink, StopSignal, TrainRequest
from worker.training.state import EpochSums, LoopState, Spent
from worker.training.stopwatch import spending, stopwatch_of

_BUFFER_ITERATIONS = 1024


class Loop:
    """Runs a training; see `worker.training.trainer.run` for the order of its verbs.

    An epoch that a stop rule or a wish cuts short is evaluated and booked over the batches that
    it had; a cancelled or diverged one is not booked, its iterations are.
    """

    def __init__(
        self, request: TrainRequest, parts: Parts, sink: Sink, signal: StopSignal, pulse: Pulse
    ) -> None:
        self._request, self._parts = request, parts
        self._sink, self._signal, self._pulse = sink, signal, pulse
        self.store = Store(request.artifacts_url, request.attempt)
        self._norm_every = parts.spec["record"]["grad_norm_every"]
        # Of a network of a team's own nobody knows the layers.
        self._layers_every = parts.spec["record"]["layers_every"] if parts.placed else 0
        stop = parts.spec["stop"]
        self._watch_loss = stop["target_loss"] is not None and stop["target_on"] == "iteration"
        self._fails = stop["on_non_finite"] == "fail"
        self._watch = stopwatch_of(parts.device)
        self._recorder = Recorder(
            sink,
            self._watch,
            ScalarBuffer(_BUFFER_ITERATIONS, parts.device),
            parts.learner.readings.rows,
            fail_on_non_finite=self._fails,
            scaled=parts.learner.precision.scaler is not None,
        )
        own = entrypoints_in(parts.spec)
        self.kept = Resumable(
            network=parts.network,
            optimizer=parts.learner.optimizer,
            precision=parts.learner.precision,
            state=LoopState(),
            epoch_start=[],
            best=None,
            source=parts.source,
            kind=kind_of(parts.environment),
            proof=Proof(", ".join(own.values())) if own else None,
        )
        self._saved_at = (0, 1)
        self._saving = Saving(sink)
        self.last_test: Measured | None = None
        self._checkpoint_due = self._checkpoint_time()

    @property
    def state(self) -> LoopState:
        return self.kept.state

    def begin(self) -> None:
        """Go on after the newest checkpoint that is good, or start at iteration 1."""
        checkpoints = self._request.checkpoints
        unusable = self._saving.unusable
        written_on = load_newest(checkpoints, self.kept, self._parts.device, unusable)
        state = self.state
        if written_on is None:
            self.kept.epoch_start = self._weights()
        elif written_on != self.kept.kind:
            state.mixed = True
            change = {"from": written_on, "to": self.kept.kind, "iteration": state.iteration}
            self._sink.warning("not to the bit: it goes on on another kind of machine", change)
        self._sink.resumed(Resumed(state.iteration, state.epoch - 1, not state.mixed))
        if state.iteration:
            self._sink.summary(summary(self._parts, state, final=False))
        self._saved_at, self._pulse.iteration = (state.iteration, state.epoch), state.iteration
        self._parts.network.train()
        self._open_epoch()

    def evaluate_if_due(self) -> None:
        """Where the epoch is over, or training is: measure the weights and book the epoch."""
        state = self.state
        if state.batch < self._parts.batches.per_epoch and state.ending is None:
            return
        self._recorder.deliver(state)
        before = copy.deepcopy(state)
        end = EpochEnd(self._parts, state, self._pulse)
        try:
            end.measure()
        except Suspended:
            # What was judged by now is judged again, of the same state, where it goes on. A stop
            # that is still wanted there is told there.
            if before.ending is StopReason.STOPPED:
                before.ending = None
            self.kept.state = before
            self._save()
            raise
        state.ending = end.reason
        state.measured |= end.measured
        # A loss that is not finite is below nothing, so it never becomes the best.
        if state.sums.train_loss < (math.inf if state.best_loss is None else state.best_loss):
            state.best_loss = state.sums.train_loss
        self.last_test = end.test
        if end.is_best and self._parts.keep_best:
            weights = self._parts.network.state_dict()
            self.kept.best = {name: tensor.clone() for name, tensor in weights.items()}
        if end.metrics:
            self._sink.metrics(state.iteration, end.metrics, MetricKind.EPOCH)
        self._sink.epoch(end.row(self.kept.epoch_start))
        self._sink.summary(summary(self._parts, state, final=False))
        if state.ending is None:
            self._next_epoch()

    def checkpoint_if_due(self) -> None:
        """Save all that a resume needs, every `checkpoint.every_seconds`, and before a pause.

        Not where training ends anyway.

        Raises:
            Suspended: somebody wants it to go on later.

        """
        if self.state.ending is not None:
            return
        leaving = self._signal.wanted() is Wish.PAUSE
        if not leaving and time.perf_counter() < self._checkpoint_due:
            return
        self._save()
        if leaving:
            raise Suspended(self.state.iteration)
        self._checkpoint_due = self._checkpoint_time()
        self._resume_training()

    def _save(self) -> None:
        """Write a checkpoint and tell of it; where the store fails, tell that and go on.

        Weights that are not finite are not kept: going on from those could only diverge, while
        an older checkpoint may be good.
        """
        state = self.state
        self._recorder.deliver(state)
        self._pulse.enter(Phase.SAVE, state.epoch, state.batch)
        weight_norm = norm(self._parts.parameters())
        here = (state.iteration, state.epoch)
        if here == self._saved_at or (self._fails and weight_norm - weight_norm != 0):
            return
        if self._saving.write(state.iteration, self._write_checkpoint):
            self._saved_at = here

    def _write_checkpoint(self) -> Stored:
        with spending(self.state.sums, Spent.CHECKPOINT):
            return save_checkpoint(self.store, self.kept, self._parts.device)

    def stop_if_asked(self) -> bool:
        """Say whether training is over; why stands in the state."""
        return self.state.ending is not None

    def step(self) -> None:
        """Make one weight update by the epoch's next batch."""
        parts, state = self._parts, self.state
        self._watch.begin(state.batch + 1)
        start = state.batch * parts.batches.size
        index = self._order[start : start + parts.batches.size]
        images, labels = parts.data.train.images[index], parts.data.train.labels[index]
        x = parts.augment(parts.data.normalise(images), start)
        state.iteration += 1
        state.batch += 1
        self._lr = parts.rate(state.iteration)
        for group in parts.learner.optimizer.param_groups:
            group["lr"] = self._lr
        self._samples = len(index)
        self._watch.lap(Spent.DATA)
        self._update = parts.learner.update(
            x,
            labels,
            self._watch.lap,
            norm_due=_due(state.iteration, self._norm_every),
            layers_due=_due(state.iteration, self._layers_every),
        )

    def report(self) -> None:
        """Book the update, and hear what rules and people say to it.

        Raises:
            Cancelled: after everything that was computed was delivered.
            Diverged: with a delivery that holds a loss that is not finite.

        """
        state, update = self.state, self._update
        self._pulse.iteration = state.iteration
        self._recorder.record(state, self._samples, self._lr, update)
        self._recorder.deliver_if_due(state)
        wish = self._signal.wanted()
        if wish is Wish.CANCEL:
            self._recorder.deliver(state)
            raise Cancelled(state.iteration)
        loss = update.loss.item() if self._watch_loss else None
        state.ending = self._parts.rules.after_iteration(state, loss, self._seconds(), wish)

    def _next_epoch(self) -> None:
        state = self.state
        state.epoch, state.batch, state.sums = state.epoch + 1, 0, EpochSums()
        self.kept.epoch_start = self._weights()
        self._open_epoch()

    def _open_epoch(self) -> None:
        parts, epoch = self._parts, self.state.epoch
        samples = len(parts.data.train)
        self._order: Tensor = epoch_order(parts.seed, epoch, samples).to(parts.device)
        parts.augment.begin_epoch(epoch, samples)
        self._resume_training()

    def _resume_training(self) -> None:
        self._pulse.enter(Phase.TRAIN, self.state.epoch, self.state.batch)
        self._recorder.restart_clock()

    def _weights(self) -> list[Tensor]:
        return [weight.clone() for weight in self._parts.parameters()]

    def _seconds(self) -> float:
        return self._request.seconds_before + time.perf_counter() - self._pulse.began

    def _checkpoint_time(self) -> float:
        return time.perf_counter() + float(self._parts.spec["checkpoint"]["every_seconds"])


def _due(iteration: int, every: int) -> bool:
    return every > 0 and (iteration == 1 or iteration % every == 0)
