"""The error between output and target, in a form that micro-batches add up to.

Legend: n samples of a pass, k classes.

A batch's loss is its samples' mean; with class weights w it is Σ w·loss / Σ w, as torch's
cross_entropy has it. So a batch's divisor is known before any pass, each pass contributes its
sum over that divisor, and the contributions of a batch's passes are the batch's loss exactly
as one pass would define it. Weight decay is the optimizer's and never in it.
"""

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional


class BatchLoss(Protocol):
    """What an update and an evaluation ask of a loss."""

    classes: int

    def whole(self, output_nk: Tensor, labels_n: Tensor) -> Tensor:
        """Return the loss of a batch that is one pass."""

    def part(self, output_nk: Tensor, labels_n: Tensor, divisor: Tensor | float) -> Tensor:
        """Return what these samples contribute to the loss of a batch with this divisor."""

    def divisor(self, labels_n: Tensor) -> Tensor | float:
        """Return what a batch's summed loss is divided by."""


class Loss:
    """A spec's resolved `loss` for a training set with these labels."""

    def __init__(self, options: dict[str, Any], labels_n: Tensor, classes: int) -> None:
        self.name = str(options["name"])
        self.smoothing = float(options["label_smoothing"])
        self.classes = classes
        self.weight_k = _class_weights(options["weight"], labels_n, classes)

    def whole(self, output_nk: Tensor, labels_n: Tensor) -> Tensor:
        """Return the loss of a batch that is one pass: torch's own mean."""
        if self.name == "cross_entropy":
            return functional.cross_entropy(
                output_nk, labels_n, weight=self.weight_k, label_smoothing=self.smoothing
            )
        if self.weight_k is None:
            return functional.mse_loss(output_nk.float(), self._one_hot(labels_n))
        return self.part(output_nk, labels_n, self.divisor(labels_n))

    def part(self, output_nk: Tensor, labels_n: Tensor, divisor: Tensor | float) -> Tensor:
        """Return what these samples contribute to the loss of a batch with this divisor."""
        if self.name == "cross_entropy":
            total = functional.cross_entropy(
                output_nk,
                labels_n,
                weight=self.weight_k,
                label_smoothing=self.smoothing,
                reduction="sum",
            )
            return total / divisor
        squares_n = (output_nk.float() - self._one_hot(labels_n)).square().mean(dim=1)
        if self.weight_k is not None:
            squares_n = squares_n * self.weight_k[labels_n]
        return squares_n.sum() / divisor

    def divisor(self, labels_n: Tensor) -> Tensor | float:
        """Return what a batch's summed loss is divided by: its samples, or their weights."""
        return float(len(labels_n)) if self.weight_k is None else self.weight_k[labels_n].sum()

    def _one_hot(self, labels_n: Tensor) -> Tensor:
        return functional.one_hot(labels_n, self.classes).to(torch.float32)


def _class_weights(weight: object, labels_n: Tensor, classes: int) -> Tensor | None:
    """Return a weight a class; "balanced" is N / (classes · samples of the class)."""
    if weight is None:
        return None
    if weight == "balanced":
        counts = torch.bincount(labels_n.cpu(), minlength=classes).double()
        balanced = len(labels_n) / (classes * counts.clamp(min=1))
        return balanced.float().to(labels_n.device)
    return torch.tensor(weight, dtype=torch.float32, device=labels_n.device)
