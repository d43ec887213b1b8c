"""What a program keeps in a checkpoint: its own objects, and where it stood."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from worker.training.checkpoint import FORMAT
from worker.training.errors import ProgramMisused
from worker.training.proof import Proof
from worker.training.randomness import random_states
from worker.training.state import LoopState

NETWORK = "network"
"""The name of the object whose weights are the job's."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a program stands beside its own objects."""

    state: LoopState
    device: torch.device
    kind: dict[str, Any]


def pack(objects: Mapping[str, Any], standing: Standing, proof: Proof) -> bytes:
    """Write a checkpoint's content.

    Of an object with a `state_dict` that is kept, of anything else the value itself. A salvage
    finds the weights of `network` where it finds those of any job.

    Raises:
        EntryPointUnfit: it holds more than tensors and plain values.

    """
    kept = {name: _kept(each) for name, each in objects.items()}
    own = dict(kept)
    content = {
        "format": FORMAT,
        "network": kept.pop(NETWORK) if isinstance(objects.get(NETWORK), nn.Module) else None,
        "objects": kept,
        "random": random_states(standing.device),
        "state": standing.state.to_plain(),
        "best": None,
        "source": None,
        "kind": standing.kind,
    }
    written = io.BytesIO()
    torch.save(content, written)
    packed = written.getvalue()
    proof.require(own, packed)
    return packed


def unpack(kept: Mapping[str, Any], objects: Mapping[str, Any]) -> dict[str, Any]:
    """Put each object's state back into it; return the values that are no state of one.

    Raises:
        ProgramMisused: the checkpoint holds nothing of an object's name.
        Exception: whatever an object raises that its state does not fit.

    """
    values = dict(kept["objects"])
    if kept["network"] is not None:
        values[NETWORK] = kept["network"]
    for name, each in objects.items():
        if name not in values:
            raise ProgramMisused(f"resume: its checkpoint holds no {name}")
        each.load_state_dict(values.pop(name))
    return values


def _kept(each: Any) -> Any:  # noqa: ANN401 - a program's own
    state_dict = getattr(each, "state_dict", None)
    return state_dict() if callable(state_dict) else each
