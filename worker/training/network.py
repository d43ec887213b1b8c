"""The network that trains: modules from a placed network, wired as its tree says.

Every layer is a child of the network itself, under its own name (`conv1`, `residual1`), inner
ones too: so a weight is called `conv7.weight` wherever conv7 stands, in the readings, in
`weights.safetensors` and in `network.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from models.domain.network import PlacedLayer, PlacedNetwork
from worker.training.layers import make_module


@dataclass(frozen=True, slots=True)
class _Step:
    module: nn.Module
    body: tuple["_Step", ...]
    shortcut: tuple["_Step", ...]
    branches: bool


class Network(nn.Module):
    """Takes normalised samples, returns one number a class.

    Modules are made in the placed network's flat order, so the global generator's numbers fall
    on the same weights as in `network.py`.
    """

    def __init__(self, placed: PlacedNetwork) -> None:
        super().__init__()
        for layer in placed.flat():
            self.add_module(layer.name, make_module(layer))
        # A tuple, not a ModuleList: registered again, a weight would have two names.
        self._steps = tuple(self._step(layer) for layer in placed.layers)

    def forward(self, x: Tensor) -> Tensor:
        return _run(self._steps, x)

    def layer(self, name: str) -> nn.Module:
        return self.get_submodule(name)

    def _step(self, layer: PlacedLayer) -> _Step:
        return _Step(
            module=self.get_submodule(layer.name),
            body=tuple(self._step(inner) for inner in layer.body),
            shortcut=tuple(self._step(inner) for inner in layer.shortcut),
            branches=layer.kind == "residual",
        )


def _run(steps: Sequence[_Step], x: Tensor) -> Tensor:
    for step in steps:
        if step.branches:
            x = step.module(_run(step.body, x), _run(step.shortcut, x))
        else:
            x = step.module(x)
    return x
