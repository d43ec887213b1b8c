"""A network's shapes, carried from its input through every layer."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NoReturn

from foundation.settings import LimitsSettings
from models.domain import presets
from models.domain.errors import Breach, Location, SpecInvalid
from models.domain.network.placed import PlacedLayer, PlacedNetwork
from models.domain.network.shapes import (
    IMAGE_DIMENSIONS,
    Shape,
    Unfit,
    shortcut_stride,
    through,
    written,
)
from models.domain.spec.layers import BatchNorm, Conv, Layer, Layers, Residual
from models.domain.spec.network import LayeredNetwork, NamedNetwork

DEEPEST: Final = 16
"""Residuals that may stand one inside the other."""

NO_LIMITS: Final = LimitsSettings()


def place_network(
    network: NamedNetwork | LayeredNetwork,
    input_shape: Shape,
    classes: int,
    limits: LimitsSettings = NO_LIMITS,
) -> PlacedNetwork:
    """Name the network's layers and work out their shapes and parameters.

    Args:
        network: a named network or a list of layers.
        input_shape: of one sample, without the batch.
        classes: of the data set; the network's output must be [classes].
        limits: the most layers and parameters.

    Raises:
        SpecInvalid: naming the layer, the shape that it needs and the one that it gets.

    """
    if len(input_shape) not in (1, IMAGE_DIMENSIONS):
        # Only a data set of a team's own can have another.
        _refuse(
            ("dataset", "shape"),
            f"a network by name or of layers takes [features] or [channels, height, width], not "
            f"{written(input_shape)}",
        )
    if isinstance(network, LayeredNetwork):
        layers, loc = network.layers, ("network", "layers")
    else:
        presets.require_fit(network.name, input_shape)
        layers, loc = presets.layers_of(network.name, classes), ("network", "name")
    walk = _Walk(limits, numbered=isinstance(network, LayeredNetwork))
    placed = PlacedNetwork(input_shape, walk.place(layers, input_shape, loc, depth=0))
    if placed.parameters > limits.parameters:
        _refuse(
            ("network",),
            f"has {placed.parameters:,} parameters, more than the limit of {limits.parameters:,}",
        )
    _require_classes(placed, layers, classes, loc)
    return placed


@dataclass
class _Walk:
    """Numbers layers in the order in which they are reached: body, shortcut, residual."""

    limits: LimitsSettings
    numbered: bool
    counts: Counter[str] = field(default_factory=Counter)

    def place(
        self, layers: Layers, shape: Shape, loc: Location, depth: int
    ) -> tuple[PlacedLayer, ...]:
        placed: list[PlacedLayer] = []
        for index, layer in enumerate(layers):
            here = (*loc, index, layer.kind) if self.numbered else loc
            placed.append(self._place(layer, shape, here, depth))
            shape = placed[-1].output_shape
        return tuple(placed)

    def _place(self, layer: Layer, shape: Shape, loc: Location, depth: int) -> PlacedLayer:
        if isinstance(layer, Residual):
            return self._place_residual(layer, shape, loc, depth)
        name = self._name(layer.kind)
        try:
            output, parameters = through(layer, shape)
        except Unfit as unfit:
            _refuse(loc, f"{name} {unfit}; it gets {written(shape)}")
        return PlacedLayer(name, layer.kind, layer.filled(), shape, output, parameters)

    def _place_residual(
        self, layer: Residual, shape: Shape, loc: Location, depth: int
    ) -> PlacedLayer:
        if depth >= DEEPEST:
            _refuse(loc, f"residuals stand at most {DEEPEST} deep, one inside the other")
        inside = (*loc, "layers") if self.numbered else loc
        body = self.place(layer.layers, shape, inside, depth + 1)
        output = body[-1].output_shape
        shortcut = self._shortcut(shape, output, loc)
        return PlacedLayer(self._name(layer.kind), layer.kind, {}, shape, output, 0, body, shortcut)

    def _shortcut(self, shape: Shape, output: Shape, loc: Location) -> tuple[PlacedLayer, ...]:
        if shape == output:
            return ()
        try:
            stride = shortcut_stride(shape, output)
        except Unfit as unfit:
            name = f"residual{self.counts['residual'] + 1}"
            _refuse(loc, f"{name} {unfit}; its layers give {written(output)}")
        conv = Conv(channels=output[0], kernel=1, stride=stride, bias=False)
        placed = self._place(conv, shape, loc, 0)
        return placed, self._place(BatchNorm(), placed.output_shape, loc, 0)

    def _name(self, kind: str) -> str:
        self.counts[kind] += 1
        if self.counts.total() > self.limits.layers:
            _refuse(("network",), f"has more layers than the limit of {self.limits.layers:,}")
        return f"{kind}{self.counts[kind]}"


def _require_classes(placed: PlacedNetwork, layers: Layers, classes: int, loc: Location) -> None:
    output, last = placed.output_shape, placed.layers[-1]
    if output == (classes,):
        return
    facts = (
        f"{last.name} gives {written(output)}, the data set's {classes} classes need [{classes}]"
    )
    place = (*loc, len(layers) - 1)
    if last.kind == "linear":
        _refuse((*place, "linear", "features"), f"{facts}: set features to {classes}")
    cure = f'{{"linear": {{"features": {classes}}}}}'
    flatten = "" if len(output) == 1 else '{"flatten": {}} and '
    _refuse(place, f"{facts}: end the network with {flatten}{cure}")


def _refuse(loc: Location, message: str) -> NoReturn:
    raise SpecInvalid([Breach(loc, message)])
