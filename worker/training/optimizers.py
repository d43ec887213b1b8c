"""Optimizers: torch's own, with torch's option names, and groups without weight decay."""

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)
_OURS = frozenset({"name", "no_decay"})


def make_optimizer(network: nn.Module, options: dict[str, Any], *, fused: bool) -> Optimizer:
    """Build a spec's resolved `optimizer` over the parameters of `network`.

    `no_decay` takes "bias" (every bias) and "norm" (weights and biases of normalisation layers)
    out of the weight decay. `fused` is for fp16 alone: a fused kernel looks at the loss scaler's
    verdict on the device, the others need a synchronisation an iteration. rmsprop has none.
    """
    given = {key: value for key, value in options.items() if key not in _OURS}
    if "betas" in given:
        given["betas"] = tuple(given["betas"])
    groups = _groups(network, frozenset(options.get("no_decay", ())))
    name = options["name"]
    if fused and name != "rmsprop":
        given["fused"] = True
    kinds: dict[str, type[Optimizer]] = {
        "sgd": torch.optim.SGD,
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "rmsprop": torch.optim.RMSprop,
    }
    return kinds[name](groups, **given)


def _groups(network: nn.Module, without: frozenset[str]) -> list[dict[str, Any]]:
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            spare = ("bias" in without and name == "bias") or (
                "norm" in without and isinstance(module, _NORMS)
            )
            (spared if spare else decayed).append(parameter)
    groups: list[dict[str, Any]] = []
    if decayed:
        groups.append({"params": decayed})
    if spared:
        groups.append({"params": spared, "weight_decay": 0.0})
    return groups
