"""A network whose every layer knows its name, its shapes and its parameters."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from models.domain.network.shapes import Shape


@dataclass(frozen=True, slots=True)
class PlacedLayer:
    """One layer where it stands.

    Attributes:
        name: kind and running number: `conv1`.
        options: the kind's fields, every default filled in.
        input_shape, output_shape: without the batch.
        parameters: of this layer alone; 0 for `residual`, whose layers count theirs.
        body, shortcut: of a `residual`; `shortcut` is () where its input is added as it is.

    """

    name: str
    kind: str
    options: Mapping[str, Any]
    input_shape: Shape
    output_shape: Shape
    parameters: int
    body: tuple["PlacedLayer", ...] = ()
    shortcut: tuple["PlacedLayer", ...] = ()

    def flat(self) -> Iterator["PlacedLayer"]:
        """Its body, its shortcut, itself: the order of the numbers."""
        for layer in (*self.body, *self.shortcut):
            yield from layer.flat()
        yield self


@dataclass(frozen=True, slots=True)
class PlacedNetwork:
    """The layers as a tree; `flat` lists every one of them in the order of their numbers."""

    input_shape: Shape
    layers: tuple[PlacedLayer, ...]
    parameters: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", sum(layer.parameters for layer in self.flat()))

    def flat(self) -> tuple[PlacedLayer, ...]:
        return tuple(each for layer in self.layers for each in layer.flat())

    @property
    def output_shape(self) -> Shape:
        return self.layers[-1].output_shape

    @property
    def thinnest_norm(self) -> PlacedLayer | None:
        """The first batch_norm that gets one value a channel of each sample, or None.

        Training, it cannot take a single sample: one value has no spread.
        """
        norms = (layer for layer in self.flat() if layer.kind == "batch_norm")
        return next((norm for norm in norms if prod(norm.input_shape[1:]) == 1), None)

    @property
    def activations(self) -> int:
        """Numbers that one sample's forward pass makes: its input and each layer's output."""
        return prod(self.input_shape) + sum(prod(layer.output_shape) for layer in self.flat())
