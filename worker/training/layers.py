"""One placed layer as PyTorch source, and as the module that this source builds.

The source is what `network.py` shows, so the module that trains and the module that a reader
builds come from one table and cannot drift apart.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from models.domain.network import PlacedLayer

_IMAGE_DIMENSIONS = 3

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class GlobalAvgPool(nn.Module):
    """The mean of each channel. AdaptiveAvgPool2d's backward has no deterministic kernel."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


class Sum(nn.Module):
    """A residual's end: body plus shortcut. A module, so that its output can be measured."""

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return x + skip


def make_module(layer: PlacedLayer) -> nn.Module:
    """Build the layer's module; its weights are torch's default, from the global generator."""
    if layer.kind == "global_avg_pool":
        return GlobalAvgPool()
    if layer.kind == "residual":
        return Sum()
    kind = _torch_class(layer)
    positional, named = _ARGUMENTS[layer.kind](layer.options, layer)
    made: nn.Module = getattr(nn, kind)(*positional, **named)
    return made


def make_source(layer: PlacedLayer) -> str | None:
    """Return the expression that builds the layer; None for a layer that needs no module."""
    if layer.kind in {"global_avg_pool", "residual"}:
        return None
    positional, named = _ARGUMENTS[layer.kind](layer.options, layer)
    arguments = [repr(value) for value in positional]
    arguments += [f"{key}={value!r}" for key, value in named.items()]
    return f"nn.{_torch_class(layer)}({', '.join(arguments)})"


def _torch_class(layer: PlacedLayer) -> str:
    if layer.kind == "batch_norm":
        return "BatchNorm2d" if len(layer.input_shape) == _IMAGE_DIMENSIONS else "BatchNorm1d"
    return _CLASSES[layer.kind]


_CLASSES = {
    "conv": "Conv2d",
    "group_norm": "GroupNorm",
    "layer_norm": "LayerNorm",
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",
    "gelu": "GELU",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "max_pool": "MaxPool2d",
    "avg_pool": "AvgPool2d",
    "dropout": "Dropout",
    "flatten": "Flatten",
    "linear": "Linear",
}


def _conv(options: Mapping[str, Any], layer: PlacedLayer) -> Arguments:
    named = {key: options[key] for key in ("stride", "padding", "groups", "bias")}
    return (layer.input_shape[0], options["channels"], options["kernel"]), named


def _linear(options: Mapping[str, Any], layer: PlacedLayer) -> Arguments:
    return (layer.input_shape[0], options["features"]), {"bias": options["bias"]}


def _pool(options: Mapping[str, Any], _layer: PlacedLayer) -> Arguments:
    return (options["size"],), {"stride": options["stride"]}


def _plain(_options: Mapping[str, Any], _layer: PlacedLayer) -> Arguments:
    return (), {}


_ARGUMENTS: dict[str, Callable[[Mapping[str, Any], PlacedLayer], Arguments]] = {
    "conv": _conv,
    "batch_norm": lambda _options, layer: ((layer.input_shape[0],), {}),
    "group_norm": lambda options, layer: ((options["groups"], layer.input_shape[0]), {}),
    "layer_norm": lambda _options, layer: ((list(layer.input_shape),), {}),
    "relu": _plain,
    "leaky_relu": lambda options, _layer: ((options["slope"],), {}),
    "gelu": _plain,
    "tanh": _plain,
    "sigmoid": _plain,
    "max_pool": _pool,
    "avg_pool": _pool,
    "dropout": lambda options, _layer: ((options["p"],), {}),
    "flatten": _plain,
    "linear": _linear,
}
