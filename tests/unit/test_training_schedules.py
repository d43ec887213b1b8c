"""Learning rates, held against torch's own schedulers."""

import warnings
from typing import Any

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    StepLR,
)

from worker.training.schedules import Span, learning_rate

BATCHES, EPOCHS, LR = 7, 6, 0.1
TOTAL = BATCHES * EPOCHS


def rates(options: dict[str, Any], warmup: int = 0) -> list[float]:
    rate = learning_rate(options, LR, Span(TOTAL, BATCHES, warmup))
    return [rate(iteration) for iteration in range(1, TOTAL + 1)]


def sgd() -> SGD:
    return SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)


def torch_rates(optimizer: SGD, scheduler: LRScheduler, each: int = 1) -> list[float]:
    found = []
    for iteration in range(1, TOTAL + 1):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if iteration % each == 0 and iteration < TOTAL:
            scheduler.step()
    return found


def test_a_constant_rate_is_constant() -> None:
    assert rates({"name": "constant"}) == [LR] * TOTAL


def test_cosine_is_torchs() -> None:
    optimizer = sgd()
    expected = torch_rates(optimizer, CosineAnnealingLR(optimizer, TOTAL, eta_min=0.01))
    assert rates({"name": "cosine", "min_lr": 0.01}) == pytest.approx(expected)


def test_one_cycle_is_torchs() -> None:
    optimizer = sgd()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cycle = OneCycleLR(optimizer, max_lr=0.5, total_steps=TOTAL, cycle_momentum=False)
    expected = torch_rates(optimizer, cycle)
    assert rates({"name": "one_cycle", "max_lr": 0.5}) == pytest.approx(expected)


def test_step_is_torchs_and_moves_at_an_epochs_start() -> None:
    optimizer = sgd()
    expected = torch_rates(optimizer, StepLR(optimizer, 2, gamma=0.5), each=BATCHES)
    assert rates({"name": "step", "every_epochs": 2, "gamma": 0.5}) == pytest.approx(expected)


def test_multi_step_is_torchs() -> None:
    optimizer = sgd()
    expected = torch_rates(optimizer, MultiStepLR(optimizer, [1, 4], gamma=0.1), each=BATCHES)
    options = {"name": "multi_step", "epochs": [1, 4], "gamma": 0.1}
    assert rates(options) == pytest.approx(expected)


def test_warm_up_is_linear_from_a_share_of_the_rate_and_part_of_the_total() -> None:
    found = rates({"name": "constant"}, warmup=10)
    assert found[:10] == pytest.approx([LR * step / 10 for step in range(1, 11)])
    assert found[10:] == [LR] * (TOTAL - 10)


def test_cosine_after_warm_up_covers_what_is_left() -> None:
    found = rates({"name": "cosine", "min_lr": 0.0}, warmup=10)
    assert found[0] == pytest.approx(LR / 10)
    assert found[9] == pytest.approx(LR)
    assert found[10] == pytest.approx(LR)
    assert found[-1] < 0.001
    assert found[10:] == sorted(found[10:], reverse=True)


@pytest.mark.parametrize("total", [1, 2, 3])
@pytest.mark.parametrize("warmup", [0, 1, 5])
def test_the_shortest_trainings_have_a_finite_rate(total: int, warmup: int) -> None:
    for options in ({"name": "cosine", "min_lr": 0.0}, {"name": "one_cycle", "max_lr": 0.5}):
        rate = learning_rate(options, LR, Span(total, 1, warmup))
        assert all(0 <= rate(iteration) <= 0.5 for iteration in range(1, total + 1))
