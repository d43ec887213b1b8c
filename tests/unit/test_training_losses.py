"""Losses: torch's numbers, and parts that add up to the whole."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from worker.training.losses import Loss


def options(**given: Any) -> dict[str, Any]:  # noqa: ANN401 - fields of a loss
    return {"name": "cross_entropy", "label_smoothing": 0.0, "weight": None, **given}


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(10, 4), torch.tensor([0, 1, 2, 3, 0, 0, 1, 1, 3, 2])


KINDS = [
    options(),
    options(label_smoothing=0.1),
    options(weight=[1.0, 2.0, 0.5, 3.0]),
    options(weight=[1.0, 2.0, 0.0, 3.0], label_smoothing=0.2),
    options(weight="balanced"),
    options(name="mse"),
    options(name="mse", weight=[1.0, 2.0, 0.5, 3.0]),
]


@pytest.mark.parametrize("kind", KINDS)
def test_parts_of_a_batch_add_up_to_its_loss(
    kind: dict[str, Any], batch: tuple[Tensor, Tensor]
) -> None:
    output, labels = batch
    loss = Loss(kind, labels, 4)
    divisor = loss.divisor(labels)
    pieces = zip(output.split([4, 4, 2]), labels.split([4, 4, 2]), strict=True)  # type: ignore[no-untyped-call]
    parts = [loss.part(piece, answers, divisor) for piece, answers in pieces]
    assert torch.stack(parts).sum().item() == pytest.approx(loss.whole(output, labels).item())


def test_weighted_cross_entropy_is_torchs(batch: tuple[Tensor, Tensor]) -> None:
    output, labels = batch
    weight = [1.0, 2.0, 0.5, 3.0]
    mine = Loss(options(weight=weight, label_smoothing=0.1), labels, 4).whole(output, labels)
    torchs = functional.cross_entropy(
        output, labels, weight=torch.tensor(weight), label_smoothing=0.1
    )
    assert mine.item() == torchs.item()


def test_balanced_weights_count_every_class_alike() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    weights = Loss(options(weight="balanced"), labels, 2).weight_k
    assert weights is not None
    assert weights.tolist() == pytest.approx([4 / (2 * 3), 4 / (2 * 1)])


def test_mse_is_over_one_hot_targets(batch: tuple[Tensor, Tensor]) -> None:
    output, labels = batch
    mine = Loss(options(name="mse"), labels, 4).whole(output, labels)
    assert mine.item() == pytest.approx(((output - torch.eye(4)[labels]) ** 2).mean().item())
