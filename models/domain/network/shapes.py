"""What one layer makes of a shape, and how many parameters it has: arithmetic only.

Shapes are without the batch: [channels, height, width] for images, [features] after
`flatten`, `global_avg_pool` and `linear`. Rules are torch's; a test holds them against it.
"""

from functools import singledispatch
from math import prod

from models.domain.spec.layers import (
    AvgPool,
    BatchNorm,
    Conv,
    Flatten,
    GlobalAvgPool,
    GroupNorm,
    LayerNorm,
    Linear,
    MaxPool,
)
from models.domain.spec.part import Keyed

Shape = tuple[int, ...]
IMAGE_DIMENSIONS = 3


class Unfit(Exception):
    """The layer cannot take the shape; the text says what it needs instead."""


def written(shape: Shape) -> str:
    """The shape as JSON writes it: [3, 32, 32]."""
    return f"[{', '.join(map(str, shape))}]"


@singledispatch
def through(layer: Keyed, shape: Shape) -> tuple[Shape, int]:
    """The output shape and the parameter count; a kind without a rule keeps the shape.

    Raises:
        Unfit: where the layer cannot take `shape`.

    """
    del layer
    return shape, 0


@through.register
def _(layer: Conv, shape: Shape) -> tuple[Shape, int]:
    channels, height, width = _image(shape)
    for name, count in (("input channels", channels), ("channels", layer.channels)):
        if count % layer.groups:
            raise Unfit(f"needs {name} that its {layer.groups} groups divide, not {count}")
    sides = (height + 2 * layer.padding, width + 2 * layer.padding)
    output = _windows(channels, sides, layer.kernel, layer.stride, layer.padding)
    weights = layer.channels * (channels // layer.groups) * layer.kernel**2
    return (layer.channels, *output), weights + (layer.channels if layer.bias else 0)


@through.register(MaxPool)
@through.register(AvgPool)
def _(layer: MaxPool | AvgPool, shape: Shape) -> tuple[Shape, int]:
    channels, height, width = _image(shape)
    return (channels, *_windows(channels, (height, width), layer.size, layer.stride, 0)), 0


@through.register
def _(layer: GlobalAvgPool, shape: Shape) -> tuple[Shape, int]:
    del layer
    return (_image(shape)[0],), 0


@through.register
def _(layer: BatchNorm, shape: Shape) -> tuple[Shape, int]:
    del layer
    return shape, 2 * shape[0]


@through.register
def _(layer: GroupNorm, shape: Shape) -> tuple[Shape, int]:
    if shape[0] % layer.groups:
        raise Unfit(f"needs channels that its {layer.groups} groups divide, not {shape[0]}")
    return shape, 2 * shape[0]


@through.register
def _(layer: LayerNorm, shape: Shape) -> tuple[Shape, int]:
    del layer
    return shape, 2 * prod(shape)


@through.register
def _(layer: Flatten, shape: Shape) -> tuple[Shape, int]:
    del layer
    return (prod(shape),), 0


@through.register
def _(layer: Linear, shape: Shape) -> tuple[Shape, int]:
    if len(shape) != 1:
        raise Unfit('needs [features]: put {"flatten": {}} before it')
    return (layer.features,), layer.features * (shape[0] + (1 if layer.bias else 0))


def shortcut_stride(shape: Shape, output: Shape) -> int:
    """The stride with which a 1 by 1 conv takes `shape`'s height and width to `output`'s.

    Raises:
        Unfit: where there is none, or one of the two is no image.

    """
    if len(shape) != IMAGE_DIMENSIONS or len(output) != IMAGE_DIMENSIONS:
        raise Unfit(f"needs layers that give {written(shape)} back")
    sides, wanted = shape[1:], output[1:]
    stride = max(-(-side // want) for side, want in zip(sides, wanted, strict=True))
    if tuple(-(-side // stride) for side in sides) != wanted:
        raise Unfit(
            f"needs layers whose output a 1 by 1 conv with one stride makes of {written(shape)}"
        )
    return stride


def _image(shape: Shape) -> tuple[int, int, int]:
    if len(shape) != IMAGE_DIMENSIONS:
        raise Unfit("needs [channels, height, width]: put it before what flattens")
    return shape[0], shape[1], shape[2]


def _windows(
    channels: int, sides: tuple[int, int], window: int, stride: int, padding: int
) -> tuple[int, int]:
    """How many windows fit into the padded sides: torch's floor mode."""
    if min(sides) < window:
        least = max(1, window - 2 * padding)
        raise Unfit(
            f"needs at least {written((channels, least, least))} for its {window} by {window}"
        )
    return (sides[0] - window) // stride + 1, (sides[1] - window) // stride + 1
