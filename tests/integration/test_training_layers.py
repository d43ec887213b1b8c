"""Every kind of layer's share of the error, held against autograd asked by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.domain.spec.layers import KINDS
from tests.trainings import train_spec
from worker.training.data.digits import load_digits
from worker.training.order import epoch_order

SEED, BATCH, LR = 3, 100, 0.05

LAYERS: list[dict[str, Any]] = [
    {"conv": {"channels": 4, "kernel": 3, "padding": 1}},
    {"batch_norm": {}},
    {"leaky_relu": {"slope": 0.1}},
    {
        "residual": {
            "layers": [
                {"conv": {"channels": 8, "kernel": 3, "padding": 1, "stride": 2}},
                {"group_norm": {"groups": 2}},
                {"residual": {"layers": [{"gelu": {}}]}},
            ]
        }
    },
    {"max_pool": {"size": 2, "stride": 1}},
    {"layer_norm": {}},
    {"tanh": {}},
    {"avg_pool": {"size": 2, "stride": 1}},
    {"dropout": {"p": 0.3}},
    {"conv": {"channels": 6, "kernel": 2, "groups": 2, "bias": False}},
    {"sigmoid": {}},
    {"global_avg_pool": {}},
    {"flatten": {}},
    {"linear": {"features": 12}},
    {"relu": {}},
    {"linear": {"features": 10, "bias": False}},
]


def test_every_layer_is_measured_as_autograd_says(tmp_path: Path) -> None:
    spec = {
        "dataset": {"name": "digits", "normalize": False},
        "network": {"layers": LAYERS},
        "epochs": 1,
        "batch_size": BATCH,
        "optimizer": {"name": "sgd", "lr": LR},
        "seed": SEED,
        "record": {"layers_every": 1},
        "stop": {"max_iterations": 1},
    }
    _, book = train_spec(spec, tmp_path)
    ((_, readings),) = book.all("layers")
    expected = _by_hand()
    assert [reading["layer"] for reading in readings] == list(expected)
    assert {reading["kind"] for reading in readings} == set(KINDS)
    for reading in readings:
        for name, number in expected[reading["layer"]].items():
            # An update is the difference of two weights, of which fp32 has few digits.
            digits = 1e-4 if name == "update_ratio" else 1e-6
            near = None if number is None else pytest.approx(number, rel=digits)
            assert reading[name] == near, (reading["layer"], name)
            assert number is None or number > 0


def _by_hand() -> dict[str, dict[str, float | None]]:
    """Go forward step by step, and ask autograd for the gradient at each step's output."""
    torch.manual_seed(SEED)
    # In the order in which the seed's numbers fall on them: a shortcut after its body.
    modules: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(1, 4, 3, padding=1),
        "batch_norm1": nn.BatchNorm2d(4),
        "conv2": nn.Conv2d(4, 8, 3, padding=1, stride=2),
        "group_norm1": nn.GroupNorm(2, 8),
        "conv3": nn.Conv2d(4, 8, 1, stride=2, bias=False),
        "batch_norm2": nn.BatchNorm2d(8),
        "layer_norm1": nn.LayerNorm([8, 3, 3]),
        "conv4": nn.Conv2d(8, 6, 2, groups=2, bias=False),
        "linear1": nn.Linear(6, 12),
        "linear2": nn.Linear(12, 10, bias=False),
    }
    digits = load_digits()
    index = epoch_order(SEED, 1, 1437)[:BATCH]
    x = digits.train_nchw[index].float() / 16
    outputs = _forward(modules, x)
    loss = functional.cross_entropy(outputs["linear2"], digits.train_labels_n[index])
    errors = torch.autograd.grad(loss, list(outputs.values()), retain_graph=True)
    return {
        name: {"error_norm": _norm([error]), **_of_weights(modules.get(name), loss)}
        for name, error in zip(outputs, errors, strict=True)
    }


def _forward(modules: dict[str, nn.Module], x: Tensor) -> dict[str, Tensor]:
    outputs: dict[str, Tensor] = {}

    def step(name: str, make: Callable[[Tensor], Tensor], given: Tensor) -> Tensor:
        # A step of its own even where the layer changes nothing, so that it has its own gradient.
        outputs[name] = made = make(given).clone()
        return made

    h = step("conv1", modules["conv1"], x)
    h = step("batch_norm1", modules["batch_norm1"], h)
    fork = step("leaky_relu1", lambda given: functional.leaky_relu(given, 0.1), h)
    h = step("conv2", modules["conv2"], fork)
    inner = step("group_norm1", modules["group_norm1"], h)
    h = step("gelu1", functional.gelu, inner)
    body = step("residual1", lambda given: given + inner, h)
    h = step("conv3", modules["conv3"], fork)
    shortcut = step("batch_norm2", modules["batch_norm2"], h)
    h = step("residual2", lambda given: given + shortcut, body)
    h = step("max_pool1", lambda given: functional.max_pool2d(given, 2, stride=1), h)
    h = step("layer_norm1", modules["layer_norm1"], h)
    h = step("tanh1", torch.tanh, h)
    h = step("avg_pool1", lambda given: functional.avg_pool2d(given, 2, stride=1), h)
    h = step("dropout1", lambda given: functional.dropout(given, 0.3), h)
    h = step("conv4", modules["conv4"], h)
    h = step("sigmoid1", torch.sigmoid, h)
    h = step("global_avg_pool1", lambda given: given.mean(dim=(2, 3)), h)
    h = step("flatten1", lambda given: given.flatten(1), h)
    h = step("linear1", modules["linear1"], h)
    h = step("relu1", torch.relu, h)
    step("linear2", modules["linear2"], h)
    return outputs


def _of_weights(module: nn.Module | None, loss: Tensor) -> dict[str, float | None]:
    if module is None:
        return {"grad_norm": None, "weight_norm": None, "update_ratio": None}
    weights = list(module.parameters())
    gradient = _norm(torch.autograd.grad(loss, weights, retain_graph=True))
    weight = _norm(weights)
    return {"grad_norm": gradient, "weight_norm": weight, "update_ratio": LR * gradient / weight}


def _norm(tensors: Any) -> float:  # noqa: ANN401 - a list or tuple of tensors
    numbers = torch.cat([tensor.detach().double().flatten() for tensor in tensors])
    return float(numbers.norm())
