"""Fifty iterations as the service books them, and by a loop of plain PyTorch, to the bit.

The loop below knows nothing of ours but the order of the samples: torch's own optimizers,
schedulers, losses and clipping. So each option of a spec is held against what torch's users mean by
it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import Optimizer
from torch.optim import lr_scheduler as schedulers

from tests.trainings import train_spec
from worker.training.data.digits import load_digits
from worker.training.order import epoch_order

SEED, EPOCHS, BATCH = 5, 10, 300
BATCHES = 5
ITERATIONS = EPOCHS * BATCHES
"""1,437 digits in batches of 300: four of them and one of 237."""

Scheduler = Callable[[Optimizer], schedulers.LRScheduler]
WholeLoss = Callable[[Tensor, Tensor], Tensor]
Clip = Callable[[list[nn.Parameter]], object]


def _mean(output_nk: Tensor, labels_n: Tensor) -> Tensor:
    return functional.cross_entropy(output_nk, labels_n)


def _adamw(weights: list[nn.Parameter]) -> Optimizer:
    return torch.optim.AdamW(weights, lr=0.003)


@dataclass(frozen=True, slots=True)
class Case:
    """What a spec says, and what plain PyTorch does for it.

    Attributes:
        each_epoch: the scheduler steps at an epoch's end, not at an iteration's.
        warmup: iterations before the scheduler.
        micro_batch_size: passes of so many samples, whose losses are sums over the batch's size.

    """

    spec: dict[str, Any]
    optimizer: Callable[[list[nn.Parameter]], Optimizer] = field(default=_adamw)
    scheduler: Scheduler | None = None
    each_epoch: bool = False
    warmup: int = 0
    loss: WholeLoss = field(default=_mean)
    clip: Clip | None = None
    micro_batch_size: int | None = None


WEIGHTS = [1.0, 2.0, 0.5, 1.0, 1.0, 3.0, 1.0, 0.25, 1.0, 1.0]


def _optimizer(kind: type[Optimizer], name: str, **options: Any) -> Case:  # noqa: ANN401 - torch's options
    given: dict[str, Any] = {
        key: tuple(each) if key == "betas" else each for key, each in options.items()
    }
    return Case({"optimizer": {"name": name, **options}}, partial(kind, **given))


def _schedule(
    scheduler: Scheduler,
    *,
    each_epoch: bool = False,
    warmup: int = 0,
    **spec: Any,  # noqa: ANN401 - the schedule's options
) -> Case:
    optimizer = {"name": "sgd", "lr": 0.1, "momentum": 0.9}
    return Case(
        {"optimizer": optimizer, "schedule": {**spec, "warmup_iterations": warmup}},
        partial(torch.optim.SGD, lr=0.1, momentum=0.9),
        scheduler,
        each_epoch=each_epoch,
        warmup=warmup,
    )


def _weighted_squares(output_nk: Tensor, labels_n: Tensor) -> Tensor:
    weight_k = torch.tensor(WEIGHTS)
    squares_n = (output_nk - functional.one_hot(labels_n, 10).float()).square().mean(dim=1)
    return (squares_n * weight_k[labels_n]).sum() / weight_k[labels_n].sum()


def _balanced(output_nk: Tensor, labels_n: Tensor) -> Tensor:
    everybody = load_digits().train_labels_n
    weight_k = len(everybody) / (10 * torch.bincount(everybody).double())
    return functional.cross_entropy(output_nk, labels_n, weight=weight_k.float())


CASES = {
    "sgd": _optimizer(torch.optim.SGD, "sgd", lr=0.1),
    "sgd, momentum, nesterov, decay": _optimizer(
        torch.optim.SGD, "sgd", lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3
    ),
    "sgd, dampening": _optimizer(torch.optim.SGD, "sgd", lr=0.05, momentum=0.8, dampening=0.1),
    "adam": _optimizer(torch.optim.Adam, "adam", lr=0.003),
    "adam, betas, eps, decay, amsgrad": _optimizer(
        torch.optim.Adam,
        "adam",
        lr=0.003,
        betas=[0.8, 0.99],
        eps=1e-6,
        weight_decay=1e-3,
        amsgrad=True,
    ),
    "adamw": _optimizer(torch.optim.AdamW, "adamw", lr=0.003, weight_decay=0.1),
    "rmsprop": _optimizer(torch.optim.RMSprop, "rmsprop", lr=0.001),
    "rmsprop, centered, momentum": _optimizer(
        torch.optim.RMSprop, "rmsprop", lr=0.001, alpha=0.9, centered=True, momentum=0.5
    ),
    "step": _schedule(
        lambda optimizer: schedulers.StepLR(optimizer, step_size=3, gamma=0.3),
        each_epoch=True,
        name="step",
        every_epochs=3,
        gamma=0.3,
    ),
    "multi_step": _schedule(
        lambda optimizer: schedulers.MultiStepLR(optimizer, [2, 7], gamma=0.1),
        each_epoch=True,
        name="multi_step",
        epochs=[2, 7],
        gamma=0.1,
    ),
    "cosine": _schedule(
        lambda optimizer: schedulers.CosineAnnealingLR(optimizer, ITERATIONS, eta_min=0.001),
        name="cosine",
        min_lr=0.001,
    ),
    "cosine after a warm-up": _schedule(
        lambda optimizer: schedulers.CosineAnnealingLR(optimizer, ITERATIONS - 8),
        warmup=8,
        name="cosine",
    ),
    "one_cycle": _schedule(
        lambda optimizer: schedulers.OneCycleLR(
            optimizer, 0.2, total_steps=ITERATIONS, cycle_momentum=False
        ),
        name="one_cycle",
        max_lr=0.2,
    ),
    "a warm-up": _schedule(
        lambda optimizer: schedulers.ConstantLR(optimizer, factor=1.0), warmup=12, name="constant"
    ),
    "cross_entropy, label_smoothing": Case(
        {"loss": {"name": "cross_entropy", "label_smoothing": 0.1}},
        loss=partial(functional.cross_entropy, label_smoothing=0.1),
    ),
    "cross_entropy, weight": Case(
        {"loss": {"name": "cross_entropy", "weight": WEIGHTS, "label_smoothing": 0.1}},
        loss=partial(functional.cross_entropy, weight=torch.tensor(WEIGHTS), label_smoothing=0.1),
    ),
    "cross_entropy, balanced": Case(
        {"loss": {"name": "cross_entropy", "weight": "balanced"}}, loss=_balanced
    ),
    "mse": Case(
        {"loss": {"name": "mse"}},
        loss=lambda output_nk, labels_n: functional.mse_loss(
            output_nk, functional.one_hot(labels_n, 10).float()
        ),
    ),
    "mse, weight": Case({"loss": {"name": "mse", "weight": WEIGHTS}}, loss=_weighted_squares),
    "max_norm": Case(
        {"grad_clip": {"max_norm": 0.5}}, clip=lambda weights: clip_grad_norm_(weights, 0.5)
    ),
    "max_value": Case(
        {"grad_clip": {"max_value": 0.01}}, clip=lambda weights: clip_grad_value_(weights, 0.01)
    ),
    "micro_batch_size": Case({"micro_batch_size": 70}, micro_batch_size=70),
}

LAYERS = [
    {"conv": {"channels": 6, "kernel": 3}},
    {"relu": {}},
    {"max_pool": {"size": 2}},
    {"flatten": {}},
    {"linear": {"features": 10}},
]


@pytest.mark.parametrize("name", CASES)
def test_fifty_losses_are_those_of_plain_pytorch_to_the_bit(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    spec = {
        "dataset": {"name": "digits", "normalize": False},
        "network": {"layers": LAYERS},
        "epochs": EPOCHS,
        "batch_size": BATCH,
        "optimizer": {"name": "adamw", "lr": 0.003},
        "seed": SEED,
        **case.spec,
    }
    _, book = train_spec(spec, tmp_path)
    losses, rates = _plain(case)
    assert len(losses) == ITERATIONS
    assert book.losses == losses
    # torch's schedulers go from rate to rate, ours are closed forms: the last digits differ, which
    # no loss shows.
    assert book.table["lr"].tolist() == pytest.approx(rates, rel=1e-9)
    # So that none of the cases is the same training under another name.
    assert losses[-1] < losses[0]
    default, _ = _plain(Case({}))
    assert losses != default


def _plain(case: Case) -> tuple[list[float], list[float]]:
    """Train by hand; the losses and the learning rates of all iterations."""
    torch.manual_seed(SEED)
    network = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(54, 10)
    )
    optimizer = case.optimizer(list(network.parameters()))
    scheduler = case.scheduler(optimizer) if case.scheduler else None
    if scheduler and case.warmup:
        optimizer = case.optimizer(list(network.parameters()))
        assert case.scheduler
        rising = schedulers.LinearLR(optimizer, 1 / case.warmup, total_iters=case.warmup - 1)
        after = case.scheduler(optimizer)
        scheduler = schedulers.SequentialLR(optimizer, [rising, after], [case.warmup])
    digits = load_digits()
    losses, rates = [], []
    for epoch in range(1, EPOCHS + 1):
        for index in epoch_order(SEED, epoch, 1437).split(BATCH):  # type: ignore[no-untyped-call]
            x, labels = digits.train_nchw[index].float() / 16, digits.train_labels_n[index]
            optimizer.zero_grad()
            losses.append(_backward(case, network, x, labels))
            rates.append(optimizer.param_groups[0]["lr"])
            if case.clip:
                case.clip(list(network.parameters()))
            optimizer.step()
            if scheduler and not case.each_epoch:
                scheduler.step()
        if scheduler and case.each_epoch:
            scheduler.step()
    return losses, rates


def _backward(case: Case, network: nn.Module, x: Tensor, labels_n: Tensor) -> float:
    if case.micro_batch_size is None:
        loss = case.loss(network(x), labels_n)
        torch.autograd.backward(loss)
        return loss.item()
    total = torch.zeros(())
    size = case.micro_batch_size
    for part, own in zip(x.split(size), labels_n.split(size), strict=True):  # type: ignore[no-untyped-call]
        loss = functional.cross_entropy(network(part), own, reduction="sum") / len(labels_n)
        torch.autograd.backward(loss)
        total += loss.detach()
    return total.item()
