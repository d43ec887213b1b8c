"""The layer language: what a network is made of."""

from typing import Annotated, Any, ClassVar

from pydantic import Field, Tag

from models.domain.spec.part import Keyed, Size, by_kind

MOST_LAYERS_WRITTEN = 10_000
"""Layers that one list may hold at all; how many a network may have is a setting."""


def _stride_is_size(fields: dict[str, Any]) -> int:
    return int(fields["size"])


class Conv(Keyed):
    kind: ClassVar[str] = "conv"
    channels: Size
    kernel: Size
    stride: Size = 1
    padding: Annotated[int, Field(ge=0, le=65_536)] = 0
    groups: Size = 1
    bias: bool = True


class BatchNorm(Keyed):
    kind: ClassVar[str] = "batch_norm"


class GroupNorm(Keyed):
    kind: ClassVar[str] = "group_norm"
    groups: Size


class LayerNorm(Keyed):
    """Over all of a sample's values: its normalised shape is the whole input shape."""

    kind: ClassVar[str] = "layer_norm"


class Relu(Keyed):
    kind: ClassVar[str] = "relu"


class LeakyRelu(Keyed):
    kind: ClassVar[str] = "leaky_relu"
    slope: float


class Gelu(Keyed):
    kind: ClassVar[str] = "gelu"


class Tanh(Keyed):
    kind: ClassVar[str] = "tanh"


class Sigmoid(Keyed):
    kind: ClassVar[str] = "sigmoid"


class MaxPool(Keyed):
    kind: ClassVar[str] = "max_pool"
    size: Size
    stride: Size = Field(default_factory=_stride_is_size)


class AvgPool(Keyed):
    kind: ClassVar[str] = "avg_pool"
    size: Size
    stride: Size = Field(default_factory=_stride_is_size)


class GlobalAvgPool(Keyed):
    """The mean of each channel: `[channels, height, width]` becomes `[channels]`."""

    kind: ClassVar[str] = "global_avg_pool"


class Dropout(Keyed):
    kind: ClassVar[str] = "dropout"
    p: Annotated[float, Field(ge=0, lt=1)]


class Flatten(Keyed):
    kind: ClassVar[str] = "flatten"


class Linear(Keyed):
    kind: ClassVar[str] = "linear"
    features: Annotated[int, Field(ge=1, le=16_777_216)]
    bias: bool = True


class Residual(Keyed):
    """Its layers' output plus its input, no activation after the sum."""

    kind: ClassVar[str] = "residual"
    layers: "Layers"


KINDS = (
    "conv",
    "batch_norm",
    "group_norm",
    "layer_norm",
    "relu",
    "leaky_relu",
    "gelu",
    "tanh",
    "sigmoid",
    "max_pool",
    "avg_pool",
    "global_avg_pool",
    "dropout",
    "flatten",
    "linear",
    "residual",
)

Layer = Annotated[
    Annotated[Conv, Tag("\0conv")]
    | Annotated[BatchNorm, Tag("\0batch_norm")]
    | Annotated[GroupNorm, Tag("\0group_norm")]
    | Annotated[LayerNorm, Tag("\0layer_norm")]
    | Annotated[Relu, Tag("\0relu")]
    | Annotated[LeakyRelu, Tag("\0leaky_relu")]
    | Annotated[Gelu, Tag("\0gelu")]
    | Annotated[Tanh, Tag("\0tanh")]
    | Annotated[Sigmoid, Tag("\0sigmoid")]
    | Annotated[MaxPool, Tag("\0max_pool")]
    | Annotated[AvgPool, Tag("\0avg_pool")]
    | Annotated[GlobalAvgPool, Tag("\0global_avg_pool")]
    | Annotated[Dropout, Tag("\0dropout")]
    | Annotated[Flatten, Tag("\0flatten")]
    | Annotated[Linear, Tag("\0linear")]
    | Annotated[Residual, Tag("\0residual")],
    by_kind(*KINDS),
]

Layers = Annotated[
    tuple[Layer, ...], Field(strict=False, min_length=1, max_length=MOST_LAYERS_WRITTEN)
]

Residual.model_rebuild()
