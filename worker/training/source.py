"""`network.py`: the trained network as plain PyTorch that imports nothing of ours."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.domain.network import PlacedLayer, PlacedNetwork
from models.domain.spec.entrypoint import package_of
from worker.training.data.loading import Data
from worker.training.installed import source_sha256, version_of
from worker.training.layers import make_source

_HEAD = '''"""{title}

Input: float tensor [n, {shape}], samples as the data set has them{resized};
the network normalises them itself. Output: [n, {classes}], one number a class.

    from safetensors.torch import load_file
    network = Network()
    network.load_state_dict(load_file("weights.safetensors"))
    network.eval()
"""

import torch
from torch import nn


class Network(nn.Module):
    def __init__(self):
        super().__init__()
'''


_OWN_HEAD = '''"""A network of {parameters:,} parameters of {entrypoint}, trained by Gradbook.

Its code is in the package {package}, {version}, whose Python files hash to
{sha256}
as environment.json says; this file holds how it was built, and no more.

Input: [n, {shape}], samples as the data set has them; they are normalised here.
Output: [n, {classes}], one number a class.

    from safetensors.torch import load_file
    network = Network()
    network.load_state_dict(load_file("weights.safetensors"))
    network.eval()
"""

import torch
from torch import nn

from {module} import {name}


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = {name}(**{options!r})
{constants}
    def state_dict(self, *given, **named):
        return self.inner.state_dict(*given, **named)

    def load_state_dict(self, *given, **named):
        return self.inner.load_state_dict(*given, **named)

    def forward(self, x):
        return self.inner({x})
'''


def own_source(part: dict[str, Any], network: nn.Module, data: Data) -> str:
    """Return source that builds a network of a team's own, by its package, for its weights."""
    name, package = part["entrypoint"], package_of(part["entrypoint"])
    tokens = data.train.images.dtype is torch.int64
    constants = "" if tokens else _constant("mean", data.mean) + _constant("std", data.std)
    return _OWN_HEAD.format(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        entrypoint=name,
        package=package,
        version=version_of(package) or "of no version",
        sha256=source_sha256(package),
        shape=", ".join(str(size) for size in data.shape),
        classes=data.classes,
        module=name.partition(":")[0],
        name=name.partition(":")[2],
        options=part["options"],
        constants=constants,
        x="x" if tokens else "(x.float() - self.mean) / self.std",
    )


def network_source(placed: PlacedNetwork, data: Data, resize: Sequence[int] | None) -> str:
    """Return the module's source; its state dict has exactly the keys of weights.safetensors."""
    resized = f" (resized to {resize[0]} by {resize[1]}, bilinear)" if resize else ""
    head = _HEAD.format(
        title=f"A network of {placed.parameters:,} parameters, trained by Gradbook.",
        shape=", ".join(str(size) for size in data.shape),
        resized=resized,
        classes=placed.output_shape[0],
    )
    lines = [
        _constant("mean", data.mean),
        _constant("std", data.std),
    ]
    for layer in placed.flat():
        made = make_source(layer)
        if made is not None:
            lines.append(f"        self.{layer.name} = {made}\n")
    lines.append("\n    def forward(self, x):\n")
    lines.append("        x = (x.float() - self.mean) / self.std\n")
    lines.extend(_forward(placed.layers))
    lines.append("        return x\n")
    return head + "".join(lines)


def _constant(name: str, values: Tensor) -> str:
    # A float32 that is written as the float64 of the same value is read back as itself.
    tensor = f"torch.tensor({values.flatten().tolist()!r}).reshape({tuple(values.shape)!r})"
    return f'        self.register_buffer("{name}", {tensor}, persistent=False)\n'


def _forward(layers: Sequence[PlacedLayer]) -> list[str]:
    lines: list[str] = []
    for layer in layers:
        if layer.kind == "residual":
            lines.extend(_branches(layer))
        elif layer.kind == "global_avg_pool":
            lines.append("        x = x.mean(dim=(2, 3))\n")
        else:
            lines.append(f"        x = self.{layer.name}(x)\n")
    return lines


def _branches(layer: PlacedLayer) -> list[str]:
    entry, skip = f"{layer.name}_in", f"{layer.name}_skip"
    lines = [f"        {entry} = x\n", *_forward(layer.body)]
    shortcut = _forward(layer.shortcut)
    if not shortcut:
        return [*lines, f"        x = x + {entry}\n"]
    body = f"{layer.name}_body"
    return [
        *lines,
        f"        {body} = x\n",
        f"        x = {entry}\n",
        *shortcut,
        f"        {skip} = x\n",
        f"        x = {body} + {skip}\n",
    ]
