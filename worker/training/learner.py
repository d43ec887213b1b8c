"""One weight update: forward, loss, backward, step.

Legend: n samples of a batch or of one pass.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_, get_total_norm
from torch.optim import Optimizer

from worker.training.losses import BatchLoss
from worker.training.precision import Precision
from worker.training.readings import LayerReadings
from worker.training.state import Spent
from worker.training.stopwatch import Lap


@dataclass(frozen=True, slots=True)
class Update:
    """What one update measured; all on the device."""

    loss: Tensor
    correct: Tensor
    grad_norm: Tensor | None
    skipped: Tensor | None
    layers: Tensor | None


@dataclass(frozen=True, slots=True)
class Learner:
    """What an update is made with; holds no counters.

    With `micro_batch_size` a batch goes through in several passes whose gradients add up to the
    batch's own. Batch normalisation then sees a pass at a time, as it must.
    """

    network: nn.Module
    optimizer: Optimizer
    loss: BatchLoss
    precision: Precision
    readings: LayerReadings
    micro_batch_size: int | None
    grad_clip: dict[str, Any] | None

    def update(
        self, x: Tensor, labels_n: Tensor, lap: Lap, *, norm_due: bool, layers_due: bool
    ) -> Update:
        """Update the weights once by the batch (x, labels_n)."""
        self.optimizer.zero_grad(set_to_none=True)
        if layers_due:
            self.readings.watch(x)
        loss, correct = self._passes(x, labels_n, lap)
        scale = self.precision.scale() if layers_due else 1.0
        self.precision.unscale(self.optimizer)
        if layers_due:
            self.readings.after_backward(scale)
        grad_norm = self._clip(norm_due=norm_due)
        skipped = self.precision.step(self.optimizer)
        layers = self.readings.after_step() if layers_due else None
        lap(Spent.UPDATE)
        return Update(loss, correct, grad_norm, skipped, layers)

    def _passes(self, x: Tensor, labels_n: Tensor, lap: Lap) -> tuple[Tensor, Tensor]:
        size = self.micro_batch_size
        if size is None or size >= len(labels_n):
            with self.precision.forward():
                output = self.network(x)
                loss = self.loss.whole(output, labels_n)
            correct = _correct(output, labels_n)
            lap(Spent.FORWARD)
            self.precision.backward(loss)
            lap(Spent.BACKWARD)
            return loss.detach(), correct
        divisor = self.loss.divisor(labels_n)
        total = torch.zeros((), device=x.device)
        right = torch.zeros((), dtype=torch.int64, device=x.device)
        for part, labels in zip(torch.split(x, size), torch.split(labels_n, size), strict=True):
            with self.precision.forward():
                output = self.network(part)
                loss = self.loss.part(output, labels, divisor)
            total += loss.detach()
            right += _correct(output, labels)
            lap(Spent.FORWARD)
            self.precision.backward(loss)
            lap(Spent.BACKWARD)
        return total, right

    def _clip(self, *, norm_due: bool) -> Tensor | None:
        """Clip the gradients as asked; return their L2 norm from before, where it is due."""
        clip = self.grad_clip or {}
        if not clip and not norm_due:
            return None
        parameters = list(self.network.parameters())
        if clip.get("max_norm") is not None:
            norm = clip_grad_norm_(parameters, clip["max_norm"])
            return norm if norm_due else None
        norm_before = None
        if norm_due:
            norm_before = get_total_norm([p.grad for p in parameters if p.grad is not None])
        if clip.get("max_value") is not None:
            clip_grad_value_(parameters, clip["max_value"])
        return norm_before


def _correct(output: Tensor, labels_n: Tensor) -> Tensor:
    return (output.detach().argmax(dim=1) == labels_n).sum()
