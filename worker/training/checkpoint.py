"""All that a training needs to go on, in another process, to the same bits."""

import hashlib
import io
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from worker.training.errors import CheckpointCorrupt
from worker.training.files import Store, Stored, read
from worker.training.precision import Precision
from worker.training.randomness import random_states, restore_random_states
from worker.training.state import LoopState

FORMAT = 1


@dataclass(slots=True)
class Resumable:
    """What a checkpoint is taken of and put back into.

    `epoch_start` holds the weights of the epoch's start, for `weight_change`; `best` the state
    dict of the best epoch, where it is kept; `source` is `network.py`, so that a checkpoint alone
    is enough to make a job's files of.
    """

    network: nn.Module
    optimizer: Optimizer
    precision: Precision
    state: LoopState
    epoch_start: list[Tensor]
    best: dict[str, Tensor] | None
    source: str


def save_checkpoint(store: Store, resumable: Resumable, device: torch.device) -> Stored:
    """Write `checkpoint-<iteration>.pt`: plain values and tensors, no code."""
    scaler = resumable.precision.scaler
    content = {
        "format": FORMAT,
        "network": resumable.network.state_dict(),
        "optimizer": resumable.optimizer.state_dict(),
        "scaler": None if scaler is None else scaler.state_dict(),
        "random": random_states(device),
        "state": resumable.state.to_plain(),
        "epoch_start": resumable.epoch_start,
        "best": resumable.best,
        "source": resumable.source,
    }
    written = io.BytesIO()
    torch.save(content, written)
    name = f"checkpoint-{resumable.state.iteration:012d}.pt"
    return store.write(name, written.getvalue())


def load_checkpoint(
    uri: str, sha256: str | None, resumable: Resumable, device: torch.device
) -> None:
    """Put a checkpoint back; `resumable` is of the same spec. Raises as `read_checkpoint`."""
    kept = read_checkpoint(uri, sha256, device)
    resumable.network.load_state_dict(kept["network"])
    resumable.optimizer.load_state_dict(kept["optimizer"])
    if resumable.precision.scaler is not None and kept["scaler"] is not None:
        resumable.precision.scaler.load_state_dict(kept["scaler"])
    restore_random_states(kept["random"], device)
    resumable.state = LoopState.from_plain(kept["state"])
    resumable.epoch_start = kept["epoch_start"]
    resumable.best = kept["best"]


def read_checkpoint(uri: str, sha256: str | None, device: torch.device) -> dict[str, Any]:
    """Return what `save_checkpoint` wrote, its tensors on `device`.

    Raises:
        StoreFailed: it cannot be read.
        CheckpointCorrupt: it is not the file that was booked, or not of this format.

    """
    content = read(uri)
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise CheckpointCorrupt(uri, "its sha256 is not the one that was booked")
    kept: dict[str, Any] = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    if kept.get("format") != FORMAT:
        raise CheckpointCorrupt(uri, f"its format is {kept.get('format')!r}, not {FORMAT}")
    return kept
