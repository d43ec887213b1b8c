"""The layer language built in torch by running it, to hold the arithmetic against.

It knows nothing of models.domain.network: shapes come from tensors, parameters from torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Layer = dict[str, dict[str, Any]]
IMAGES = 4


@dataclass(frozen=True)
class Ran:
    """A layer that torch has run: its kind, output shape without the batch, parameters."""

    kind: str
    output_shape: tuple[int, ...]
    parameters: int


def run_network(layers: list[Layer], input_shape: tuple[int, ...]) -> list[Ran]:
    """Every layer in the order body, shortcut, residual; raises where torch does."""
    ran: list[Ran] = []
    # Shapes without numbers: torch checks them all the same, and no weights are drawn.
    with torch.device("meta"), torch.no_grad():
        _run(layers, torch.zeros(2, *input_shape), ran)
    return ran


def _run(layers: list[Layer], x: Tensor, ran: list[Ran]) -> Tensor:
    for layer in layers:
        [(kind, options)] = layer.items()
        if kind == "residual":
            y = _run(options["layers"], x, ran)
            x = y + (x if x.shape == y.shape else _shortcut(x, y, ran))
            ran.append(Ran("residual", tuple(x.shape[1:]), 0))
        else:
            x = _apply(kind, _module(kind, options, x), x, ran)
    return x


def _apply(kind: str, module: nn.Module, x: Tensor, ran: list[Ran]) -> Tensor:
    x = module.eval()(x)
    if kind == "global_avg_pool":
        x = x.flatten(1)
    count = sum(parameter.numel() for parameter in module.parameters())
    ran.append(Ran(kind, tuple(x.shape[1:]), count))
    return x


def _shortcut(x: Tensor, y: Tensor, ran: list[Ran]) -> Tensor:
    """The first stride with which a 1 by 1 conv gives y's shape, by trying all of them."""
    channels = y.shape[1]
    for stride in range(1, max(x.shape[2:]) + 1):
        conv = nn.Conv2d(x.shape[1], channels, 1, stride, bias=False)
        if conv(x).shape == y.shape:
            x = _apply("conv", conv, x, ran)
            return _apply("batch_norm", nn.BatchNorm2d(channels), x, ran)
    raise RuntimeError("no stride fits")


def _module(kind: str, options: dict[str, Any], x: Tensor) -> nn.Module:
    build = _BUILDERS.get(kind)
    return build(options, x) if build else _PLAIN[kind]()


def _conv(options: dict[str, Any], x: Tensor) -> nn.Module:
    named = {"channels": "out_channels", "kernel": "kernel_size"}
    renamed = {named.get(name, name): value for name, value in options.items()}
    return nn.Conv2d(x.shape[1], **renamed)


def _linear(options: dict[str, Any], x: Tensor) -> nn.Module:
    return nn.Linear(x.shape[1], options["features"], bias=options.get("bias", True))


def _batch_norm(_: dict[str, Any], x: Tensor) -> nn.Module:
    return nn.BatchNorm2d(x.shape[1]) if x.dim() == IMAGES else nn.BatchNorm1d(x.shape[1])


_PLAIN: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "flatten": nn.Flatten,
}
_BUILDERS: dict[str, Callable[[dict[str, Any], Tensor], nn.Module]] = {
    "conv": _conv,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "group_norm": lambda options, x: nn.GroupNorm(options["groups"], x.shape[1]),
    "layer_norm": lambda _, x: nn.LayerNorm(list(x.shape[1:])),
    "max_pool": lambda options, _: nn.MaxPool2d(options["size"], options.get("stride")),
    "avg_pool": lambda options, _: nn.AvgPool2d(options["size"], options.get("stride")),
    "global_avg_pool": lambda *_: nn.AdaptiveAvgPool2d(1),
    "leaky_relu": lambda options, _: nn.LeakyReLU(options["slope"]),
    "dropout": lambda options, _: nn.Dropout(options["p"]),
}
