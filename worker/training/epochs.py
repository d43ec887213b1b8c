"""An epoch's end: measure the weights, judge them, and write the epoch down."""

from typing import Any

import torch
from torch import Tensor

from models.domain.lifecycle import Phase, StopReason
from worker.training.data.loading import Split
from worker.training.evaluation import Measured, evaluate
from worker.training.parts import Parts
from worker.training.pulse import Pulse
from worker.training.state import LoopState, Spent
from worker.training.stopping import Measurements
from worker.training.stopwatch import spending

MEASURED = (
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "test_loss",
    "test_accuracy",
)
"""What an epoch's row and a job's summary have a column for."""


class EpochEnd:
    """Measures one epoch, whole or cut short; `reason` is why training ends with it, or None.

    With a validation set the test set is measured only when training ends. An epoch that was
    cut short is booked like any other: its sums are over the samples that it trained on.
    """

    def __init__(self, parts: Parts, state: LoopState, pulse: Pulse) -> None:
        self._parts, self._state, self._pulse = parts, state, pulse
        self.whole = state.batch == parts.batches.per_epoch
        self.test: Measured | None = None
        self.is_best = False
        self.reason: StopReason | None = state.ending
        self.metrics: dict[str, float] = {}
        self.measured: Measurements = {
            "train_loss": state.sums.train_loss,
            "train_accuracy": state.sums.train_accuracy,
        }

    def measure(self) -> None:
        """Evaluate what is due, judge the epoch, and evaluate what its being the last needs."""
        every = int(self._parts.spec["evaluate"]["every_epochs"])
        if self.reason is not None or self._state.epoch % every == 0:
            self._evaluate_while_training()
        self._judge()
        if self.reason is not None:
            self._evaluate_while_training()
            self._judge()
            self._test()

    def _judge(self) -> None:
        rules = self._parts.rules
        self.is_best |= rules.note(self._state, self.measured)
        if self.whole and self.reason is not StopReason.TARGET_LOSS:
            self.reason = rules.after_epoch(self._state, self.measured) or self.reason

    def _evaluate_while_training(self) -> None:
        validation = self._parts.data.validation
        if validation is None:
            self._test()
        elif "val_loss" not in self.measured:
            self._note("val", self._evaluate(validation))

    def _test(self) -> None:
        if self.test is None:
            self.test = self._evaluate(self._parts.data.test)
            self._note("test", self.test)

    def _note(self, split: str, measured: Measured) -> None:
        self.measured[f"{split}_loss"] = measured.loss
        self.measured[f"{split}_accuracy"] = measured.accuracy
        if measured.top5 is not None:
            self.metrics[f"{split}_top5_accuracy"] = measured.top5

    def _evaluate(self, split: Split) -> Measured:
        self._pulse.enter(Phase.EVALUATE, self._state.epoch, self._state.batch)
        parts = self._parts
        with spending(self._state.sums, Spent.EVALUATION):
            return evaluate(
                parts.network,
                split,
                parts.learner.loss,
                parts.data.normalise,
                batch_size=parts.evaluation_batch_size,
                alive=self._pulse.beat,
            )

    def row(self, epoch_start: list[Tensor]) -> dict[str, Any]:
        """Return the epoch as `GET /v1/jobs/{id}/epochs` shows it."""
        weights = self._parts.parameters()
        return book_of(self._state, self.measured) | {
            "test_batches": self.test.batches if self.test else None,
            "weight_norm": norm(weights),
            "weight_change": distance(weights, epoch_start),
        }


def book_of(state: LoopState, measured: Measurements) -> dict[str, Any]:
    """Return an epoch as it is booked: what was summed up, what was measured, and no more."""
    sums = state.sums
    return {
        "epoch": state.epoch,
        "batches": sums.batches,
        "samples": sums.samples,
        "first_iteration": state.iteration - sums.batches + 1,
        "last_iteration": state.iteration,
        **{name: measured.get(name) for name in MEASURED},
        "test_batches": None,
        "skipped_updates": sums.skipped,
        "weight_norm": None,
        "weight_change": None,
        "seconds": sums.seconds,
        "samples_per_second": sums.samples / sums.seconds if sums.seconds else None,
        **{f"{part}_seconds": sums.spent_on(part) for part in Spent},
    }


def summary(parts: Parts, state: LoopState, *, final: bool) -> dict[str, Any]:
    """Return the job's `summary`: the last measured, and the best."""
    return summary_of(parts.rules.monitor.metric, state, final=final)


def summary_of(metric: str, state: LoopState, *, final: bool) -> dict[str, Any]:
    """Return a summary whose best is by this metric."""
    best = state.best
    return {
        "final_loss": state.last_loss if final else None,
        "best_loss": state.best_loss,
        **{name: state.measured.get(name) for name in MEASURED},
        "best": best
        and {
            "metric": metric,
            "value": best.value,
            "epoch": best.epoch,
            "iteration": best.iteration,
        },
    }


def norm(tensors: list[Tensor]) -> float:
    """Return the L2 norm over all numbers of all tensors, summed in float64."""
    if not tensors:
        return 0.0
    norms = [torch.linalg.vector_norm(tensor, dtype=torch.float64) for tensor in tensors]
    return float(torch.linalg.vector_norm(torch.stack(norms)))


def distance(now: list[Tensor], then: list[Tensor]) -> float:
    return norm([a - b for a, b in zip(now, then, strict=True)])
