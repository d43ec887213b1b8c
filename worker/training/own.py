"""Network, loss and optimizer of a team's own: called, and held to what training needs of them."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from worker.training.data.loading import Data
from worker.training.entrypoints import make
from worker.training.errors import EntryPointUnfit

_TRIED = 2


def make_network(part: dict[str, Any], packages: Collection[str]) -> nn.Module:
    """Build a spec's own network; its weights are what its code draws.

    Raises:
        EntryPointUnfit: it is no module.

    """
    made = make(part, packages)
    if not isinstance(made, nn.Module):
        raise EntryPointUnfit(part["entrypoint"], f"a {type(made).__name__} is no torch.nn.Module")
    return made


def try_network(name: str, network: nn.Module, data: Data) -> None:
    """Put two samples through the network, drawing nothing from the training's random numbers.

    Raises:
        EntryPointUnfit: it does not give one number a class, or its state can't be kept.

    """
    x = data.normalise(data.train.images[:_TRIED])
    devices = [x.device] if x.device.type == "cuda" else []
    network.eval()
    with torch.no_grad(), torch.random.fork_rng(devices):
        output = network(x)
    network.train()
    expected = [len(x), data.classes]
    if not isinstance(output, Tensor) or list(output.shape) != expected:
        found = list(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise EntryPointUnfit(name, f"gives {found} of {len(x)} samples, not {expected}")
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise EntryPointUnfit(name, "has no parameter that can be trained")
    for key, value in network.state_dict().items():
        if not isinstance(value, Tensor):
            raise EntryPointUnfit(name, f"its state's {key} is a {type(value).__name__}, no tensor")


def make_optimizer_of(
    part: dict[str, Any], packages: Collection[str], network: nn.Module
) -> Optimizer:
    """Build a spec's own optimizer over the network's parameters.

    Raises:
        EntryPointUnfit: it is no optimizer.

    """
    made = make(part, packages, network.parameters(), lr=float(part["lr"]))
    if not isinstance(made, Optimizer):
        raise EntryPointUnfit(
            part["entrypoint"], f"a {type(made).__name__} is no torch.optim.Optimizer"
        )
    return made


def require_measurements(dataset: dict[str, Any], data: Data) -> None:
    """Refuse whole numbers for a network of the house, whose layers multiply floats."""
    if data.train.images.dtype is torch.int64:
        detail = "gives whole numbers: take a network of your own, or give floats or bytes"
        raise EntryPointUnfit(dataset["entrypoint"], detail)


class OwnLoss:
    """A loss of a team's own: the mean over its samples; a pass counts by how many it has."""

    def __init__(self, part: dict[str, Any], packages: Collection[str], data: Data) -> None:
        self.name, self.classes = str(part["entrypoint"]), data.classes
        self._mean = make(part, packages)
        if isinstance(self._mean, nn.Module):
            if any(parameter.requires_grad for parameter in self._mean.parameters()):
                raise EntryPointUnfit(self.name, "has parameters: only a network's are trained")
            self._mean.to(data.train.labels.device)
        if not callable(self._mean):
            raise EntryPointUnfit(self.name, f"a {type(self._mean).__name__} can't be called")

    def whole(self, output_nk: Tensor, labels_n: Tensor) -> Tensor:
        loss = self._mean(output_nk, labels_n)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            found = list(loss.shape) if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
            raise EntryPointUnfit(self.name, f"gives {found}, not one number in a tensor")
        return loss.reshape(())

    def part(self, output_nk: Tensor, labels_n: Tensor, divisor: Tensor | float) -> Tensor:
        return self.whole(output_nk, labels_n) * (len(labels_n) / divisor)

    def divisor(self, labels_n: Tensor) -> Tensor | float:
        return float(len(labels_n))
