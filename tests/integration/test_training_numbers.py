"""What is booked is what was computed: held against plain PyTorch, to the bit."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.trainings import SMALL, train_spec
from worker.training.data.digits import load_digits
from worker.training.data.loading import load_data
from worker.training.order import epoch_order

OPTIMIZERS: list[tuple[dict[str, Any], type[torch.optim.Optimizer]]] = [
    ({"name": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True}, torch.optim.SGD),
    ({"name": "adamw", "lr": 0.003, "weight_decay": 0.1}, torch.optim.AdamW),
    ({"name": "adam", "lr": 0.003, "betas": [0.8, 0.99], "amsgrad": True}, torch.optim.Adam),
    ({"name": "rmsprop", "lr": 0.003, "alpha": 0.9, "centered": True}, torch.optim.RMSprop),
]


@pytest.mark.parametrize(("options", "kind"), OPTIMIZERS)
def test_losses_are_those_of_plain_pytorch(
    options: dict[str, Any], kind: type[torch.optim.Optimizer], tmp_path: Path
) -> None:
    layers = [
        {"conv": {"channels": 8, "kernel": 3}},
        {"batch_norm": {}},
        {"relu": {}},
        {"max_pool": {"size": 2}},
        {"flatten": {}},
        {"dropout": {"p": 0.2}},
        {"linear": {"features": 10}},
    ]
    spec = {
        "dataset": {"name": "digits", "normalize": False},
        "network": {"layers": layers},
        "epochs": 2,
        "batch_size": 100,
        "optimizer": options,
        "schedule": {"name": "cosine"},
        "seed": 11,
        "record": {"grad_norm_every": 7, "layers_every": 3},
    }
    _, book = train_spec(spec, tmp_path)

    torch.manual_seed(11)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(72, 10),
    )
    given: dict[str, Any] = {
        key: tuple(v) if key == "betas" else v for key, v in options.items() if key != "name"
    }
    optimizer = kind(network.parameters(), **given)
    digits = load_digits()
    losses: list[float] = []
    norms: list[float] = []
    rates: list[float] = []
    for epoch in (1, 2):
        network.train()
        for index in epoch_order(11, epoch, 1437).split(100):  # type: ignore[no-untyped-call]
            rates.append(options["lr"] * (1 + math.cos(math.pi * len(losses) / 30)) / 2)
            optimizer.param_groups[0]["lr"] = rates[-1]
            output = network(digits.train_nchw[index].float() / 16)
            loss = functional.cross_entropy(output, digits.train_labels_n[index])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            norms.append(nn.utils.get_total_norm([p.grad for p in network.parameters()]).item())  # type: ignore[misc]
            optimizer.step()
            losses.append(loss.item())
    assert book.losses == losses
    rows = book.table
    assert rows["lr"].tolist() == rates
    measured = [1, 7, 14, 21, 28]
    assert rows["iteration"][rows["has_grad_norm"]].tolist() == measured
    assert rows["grad_norm"][rows["has_grad_norm"]].tolist() == [norms[i - 1] for i in measured]


def test_the_same_spec_and_seed_give_the_same_bits(tmp_path: Path) -> None:
    spec = SMALL | {
        "network": {"name": "small_cnn"},
        "augment": [{"random_crop": {"padding": 1}}, {"cutout": {"size": 2}}],
        "epochs": 1,
    }
    first, book = train_spec(spec, tmp_path / "first")
    torch.rand(17)
    again, second = train_spec(spec, tmp_path / "again")
    other, third = train_spec(spec | {"seed": 1}, tmp_path / "other")
    assert book.losses == second.losses
    assert first.weights_sha256 == again.weights_sha256
    assert book.losses != third.losses
    assert first.weights_sha256 != other.weights_sha256


def test_measuring_changes_no_number(tmp_path: Path) -> None:
    spec = SMALL | {"network": {"name": "small_cnn"}, "epochs": 1, "grad_clip": {"max_norm": 0.5}}
    all_of_it = spec | {"record": {"grad_norm_every": 1, "layers_every": 1}}
    nothing = spec | {"record": {"grad_norm_every": 0, "layers_every": 0}}
    first, book = train_spec(all_of_it, tmp_path / "all")
    again, bare = train_spec(nothing, tmp_path / "nothing")
    assert first.weights_sha256 == again.weights_sha256
    assert book.losses == bare.losses
    assert not bare.table["has_grad_norm"].any()
    assert not bare.all("layers")
    assert len(book.all("layers")) == 7


@pytest.mark.parametrize("loss", [{}, {"weight": "balanced", "label_smoothing": 0.1}])
def test_micro_batches_add_up_to_the_batch(loss: dict[str, Any], tmp_path: Path) -> None:
    spec = SMALL | {
        "network": {"name": "mlp"},
        "loss": loss,
        "optimizer": {"name": "sgd", "lr": 0.05},
        "record": {"grad_norm_every": 1, "layers_every": 1},
    }
    _, whole = train_spec(spec, tmp_path / "whole")
    _, parts = train_spec(spec | {"micro_batch_size": 5}, tmp_path / "parts")
    assert parts.table["samples"].tolist() == whole.table["samples"].tolist()
    assert parts.losses == pytest.approx(whole.losses, rel=1e-4)
    assert parts.table["grad_norm"].tolist() == pytest.approx(
        whole.table["grad_norm"].tolist(), rel=1e-3
    )
    for (_, mine), (_, theirs) in zip(parts.all("layers"), whole.all("layers"), strict=True):
        assert [reading["error_norm"] for reading in mine] == pytest.approx(
            [reading["error_norm"] for reading in theirs], rel=1e-3
        )


def test_gradients_are_clipped_after_their_norm_was_read(tmp_path: Path) -> None:
    spec = SMALL | {
        "optimizer": {"name": "sgd", "lr": 1.0},
        "epochs": 1,
        "record": {"grad_norm_every": 1, "layers_every": 1},
    }
    for clip in ({"max_norm": 1e-6}, {"max_value": 1e-8}):
        _, book = train_spec(spec | {"grad_clip": clip}, tmp_path / next(iter(clip)))
        assert float(book.table["grad_norm"].min()) > 0.01
        assert all(reading[-1]["update_ratio"] < 1e-5 for _, reading in book.all("layers"))


def test_a_layers_share_of_the_error_is_the_gradient_at_its_output(tmp_path: Path) -> None:
    spec = {
        "dataset": {"name": "digits", "train_samples": 20, "normalize": False},
        "network": {"layers": [{"flatten": {}}, {"linear": {"features": 10}}]},
        "epochs": 1,
        "batch_size": "full",
        "optimizer": {"name": "sgd", "lr": 0.1},
    }
    _, book = train_spec(spec, tmp_path)
    torch.manual_seed(0)
    network = nn.Linear(64, 10)
    from_seed = load_small(tmp_path)
    index = epoch_order(0, 1, 20)
    x = from_seed[0][index].requires_grad_()
    output = network(x)
    output.retain_grad()
    torch.autograd.backward(functional.cross_entropy(output, from_seed[1][index]))
    (iteration, (flatten, linear)) = book.all("layers")[0]
    assert iteration == 1
    assert x.grad is not None
    assert output.grad is not None
    assert network.weight.grad is not None
    assert network.bias.grad is not None
    assert (flatten["layer"], linear["layer"]) == ("flatten1", "linear1")
    assert flatten["error_norm"] == pytest.approx(x.grad.norm().item())
    assert linear["error_norm"] == pytest.approx(output.grad.norm().item())
    assert (flatten["grad_norm"], flatten["weight_norm"], flatten["update_ratio"]) == (None,) * 3
    gradient = torch.cat([network.weight.grad.flatten(), network.bias.grad]).norm().item()
    weight = torch.cat([network.weight.flatten(), network.bias]).norm().item()
    assert linear["grad_norm"] == pytest.approx(gradient)
    assert linear["weight_norm"] == pytest.approx(weight)
    assert linear["update_ratio"] == pytest.approx(0.1 * gradient / weight, rel=1e-4)


def load_small(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """The 20 training samples that split_seed 0 draws, flat, as shares of a full pixel."""
    dataset = {
        "name": "digits",
        "resize": None,
        "normalize": False,
        "train_samples": 20,
        "test_samples": None,
        "split_seed": 0,
    }
    data = load_data(dataset, 0, folder, torch.device("cpu"), lambda: None)
    return data.normalise(data.train.images).flatten(1), data.train.labels


def test_weight_decay_spares_what_no_decay_names(tmp_path: Path) -> None:
    # A decay of lr * 1000 = 1 takes a weight to nothing but its gradient's step.
    network = {"layers": [{"flatten": {}}, {"batch_norm": {}}, {"linear": {"features": 10}}]}
    spec = SMALL | {
        "network": network,
        "epochs": 1,
        "record": {"layers_every": 1, "grad_norm_every": 0},
        "stop": {"max_iterations": 1},
    }
    found = {}
    for spared in ([], ["norm"], ["bias", "norm"]):
        optimizer = {"name": "adamw", "lr": 0.001, "weight_decay": 1000.0, "no_decay": spared}
        _, book = train_spec(spec | {"optimizer": optimizer}, tmp_path / str(len(spared)))
        (_, (_, norm, linear)) = book.all("layers")[0]
        found[len(spared)] = (norm["update_ratio"] > 0.5, linear["update_ratio"] > 0.5)
    assert found == {0: (True, True), 1: (False, True), 2: (False, True)}
