"""When training ends: the rules of a spec's `stop`, and what `monitor` makes of an epoch."""

from dataclasses import dataclass
from typing import Any

from models.domain.lifecycle import StopReason, Wish
from worker.training.state import Best, LoopState

Measurements = dict[str, float | None]
"""An epoch's metrics by name; None for one that was not measured."""


@dataclass(frozen=True, slots=True)
class Monitor:
    """The metric that decides which epoch is best, and in which direction."""

    metric: str
    rising: bool

    def better(self, value: float, than: float | None, by: float = 0.0) -> bool:
        """Say whether `value` improves on `than` by more than `by`; NaN never does."""
        if than is None:
            return value == value  # noqa: PLR0124 - NaN is the only value that is not itself
        return value - than > by if self.rising else than - value > by


def make_monitor(options: dict[str, Any], *, validated: bool) -> Monitor:
    """Resolve `auto`: val_loss with a validation set, else train_loss; accuracies rise."""
    metric = str(options["metric"])
    if metric == "auto":
        metric = "val_loss" if validated else "train_loss"
    mode = str(options["mode"])
    rising = metric.endswith("accuracy") if mode == "auto" else mode == "max"
    return Monitor(metric, rising)


@dataclass(frozen=True, slots=True)
class Rules:
    """Every rule that may end a training before its last epoch does."""

    options: dict[str, Any]
    epochs: int
    monitor: Monitor

    def after_iteration(
        self, state: LoopState, loss: float | None, seconds: float, wish: Wish | None
    ) -> StopReason | None:
        """Judge a finished update; `loss` is given with target_on "iteration" alone.

        An update that finishes the last epoch needs no reason here: the epoch gives it.
        """
        target = self.options["target_loss"]
        if target is not None and loss is not None and loss <= target:
            return StopReason.TARGET_LOSS
        most = self.options["max_iterations"]
        if most is not None and state.iteration >= most:
            return StopReason.MAX_ITERATIONS
        longest = self.options["max_seconds"]
        if longest is not None and seconds >= longest:
            return StopReason.MAX_SECONDS
        return StopReason.STOPPED if wish is Wish.STOP else None

    def after_epoch(self, state: LoopState, measured: Measurements) -> StopReason | None:
        """Judge a finished epoch, after `note` has heard of it."""
        target, on = self.options["target_loss"], self.options["target_on"]
        reached = measured.get(on)
        if target is not None and reached is not None and reached <= target:
            return StopReason.TARGET_LOSS
        if state.epoch >= self.epochs:
            return StopReason.EPOCHS
        patience = self.options["patience_epochs"]
        if patience is None or measured.get(self.monitor.metric) is None:
            return None
        waited = state.epoch - state.patience_epoch
        return StopReason.PATIENCE if waited >= patience else None

    def note(self, state: LoopState, measured: Measurements) -> bool:
        """Remember what the epoch means for patience and for the best; say whether it is best.

        Epochs without a measurement of the monitored metric count for patience, but only a
        measured one can end the training.
        """
        value = measured.get(self.monitor.metric)
        if value is None:
            return False
        if self.monitor.better(value, state.patience_value, self.options["min_delta"]):
            state.patience_value, state.patience_epoch = value, state.epoch
        if not self.monitor.better(value, state.best.value if state.best else None):
            return False
        state.best = Best(value, state.epoch, state.iteration)
        return True
