"""How good weights are on samples that they don't train on.

Legend: n samples, k classes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from worker.training.data.loading import Split
from worker.training.data.raw import Alive
from worker.training.losses import BatchLoss

_TOP = 5
_TOP_FROM_CLASSES = 11

Normalise = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Measured:
    """Loss and accuracy over all samples of a split, and the forward passes it took."""

    loss: float
    accuracy: float
    batches: int
    samples: int
    confusion: list[list[int]]
    top5: float | None


@torch.no_grad()
def evaluate(
    network: nn.Module,
    split: Split,
    loss: BatchLoss,
    normalise: Normalise,
    *,
    batch_size: int,
    alive: Alive,
) -> Measured:
    """Measure `network` on `split` in fp32 whatever it trains in, so that anybody can repeat it.

    The confusion matrix's rows are the true classes, its columns the answers. `alive` is called
    before each batch is computed, and may raise.
    """
    training = network.training
    network.eval()
    device = split.labels.device
    total = torch.zeros((), dtype=torch.float64, device=device)
    divisor = torch.zeros((), dtype=torch.float64, device=device)
    top = torch.zeros((), dtype=torch.int64, device=device)
    answers, batches = [], 0
    for start in range(0, len(split), batch_size):
        batches += 1
        alive()
        labels = split.labels[start : start + batch_size]
        output = network(normalise(split.images[start : start + batch_size]))
        total += loss.part(output, labels, 1.0).double()
        divisor += loss.divisor(labels)
        answers.append(output.argmax(dim=1))
        if loss.classes >= _TOP_FROM_CLASSES:
            top += (output.topk(_TOP, dim=1).indices == labels[:, None]).sum()
    network.train(training)
    confusion = _confusion(split.labels, torch.cat(answers), loss.classes)
    right = sum(row[place] for place, row in enumerate(confusion))
    return Measured(
        loss=(total / divisor).item(),
        accuracy=right / len(split),
        batches=batches,
        samples=len(split),
        confusion=confusion,
        top5=top.item() / len(split) if loss.classes >= _TOP_FROM_CLASSES else None,
    )


def _confusion(labels_n: Tensor, answers_n: Tensor, classes: int) -> list[list[int]]:
    # On the CPU: bincount has no deterministic kernel elsewhere.
    cells = (labels_n * classes + answers_n).cpu()
    counts = torch.bincount(cells, minlength=classes * classes).reshape(classes, classes)
    rows: list[list[int]] = counts.tolist()
    return rows


def report(measured: Measured) -> dict[str, Any]:
    """Return `evaluation.json`'s figures; a ratio without a case is 0, as scikit-learn's."""
    matrix = measured.confusion
    answered = [sum(row[place] for row in matrix) for place in range(len(matrix))]
    figures: dict[str, Any] = {
        "samples": measured.samples,
        "loss": measured.loss,
        "accuracy": measured.accuracy,
        "confusion_matrix": matrix,
        "classes": [
            _class_report(place, matrix[place], answered[place]) for place in range(len(matrix))
        ],
    }
    if measured.top5 is not None:
        figures["top5_accuracy"] = measured.top5
    return figures


def _class_report(place: int, row: list[int], answered: int) -> dict[str, Any]:
    right, support = row[place], sum(row)
    precision = right / answered if answered else 0.0
    recall = right / support if support else 0.0
    both = precision + recall
    return {
        "class": place,
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / both if both else 0.0,
        "support": support,
    }
