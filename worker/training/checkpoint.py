"""All that a training needs to go on, in another process, to the same bits."""

import hashlib
import io
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from models.domain.checkpoints import Kept
from worker.training.errors import CheckpointCorrupt, EntryPointUnfit, StoreFailed
from worker.training.files import Store, Stored, read
from worker.training.precision import Precision
from worker.training.proof import Proof
from worker.training.randomness import random_states, restore_random_states
from worker.training.state import LoopState

FORMAT = 2

Unusable = Callable[[Kept, str], None]
"""Told of a checkpoint that can't be used, and why."""


@dataclass(slots=True)
class Resumable:
    """What a checkpoint is taken of and put back into.

    `epoch_start` holds the weights of the epoch's start, for `weight_change`; `best` the state
    dict of the best epoch, where it is kept; `source` is `network.py`, so that a checkpoint alone
    is enough to make a job's files of; `kind` is the machine's, as `kind_of` says it. `proof` is
    there where code of a team's own has a state in it.
    """

    network: nn.Module
    optimizer: Optimizer
    precision: Precision
    state: LoopState
    epoch_start: list[Tensor]
    best: dict[str, Tensor] | None
    source: str
    kind: dict[str, Any]
    proof: Proof | None = None


def save_checkpoint(store: Store, resumable: Resumable, device: torch.device) -> Stored:
    """Write `checkpoint-<iteration>.pt`: plain values and tensors, no code.

    Raises:
        StoreFailed: it can't be written.
        EntryPointUnfit: code of a team's own has a state that could not be read again.

    """
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
        "kind": resumable.kind,
    }
    written = io.BytesIO()
    torch.save(content, written)
    if resumable.proof is not None:
        own = {name: content[name] for name in ("network", "optimizer", "best")}
        resumable.proof.require(own, written.getvalue())
    name = f"checkpoint-{resumable.state.iteration:012d}.pt"
    return store.write(name, written.getvalue())


def load_newest(
    checkpoints: Sequence[Kept], resumable: Resumable, device: torch.device, unusable: Unusable
) -> dict[str, Any] | None:
    """Put back the first of the checkpoints that is good; `resumable` is of the same spec.

    Returns:
        The kind of machine that it was written on; None where none is good.

    Raises:
        StoreFailed: as `find_newest`.
        EntryPointUnfit: code of a team's own does not fit it.

    """
    kept = find_newest(checkpoints, unusable)
    if kept is None:
        return None
    _put_back_own(kept, resumable, device)
    kind: dict[str, Any] = kept["kind"]
    return kind


def find_newest(checkpoints: Sequence[Kept], unusable: Unusable) -> dict[str, Any] | None:
    """Read the first of the checkpoints that is good.

    Raises:
        StoreFailed: the store does not answer. That a file is gone or spoilt is no reason to
            give up, but a store that is away for a moment is none to train everything again.

    """
    for checkpoint in checkpoints:
        try:
            return read_checkpoint(checkpoint)
        except CheckpointCorrupt as corrupt:
            unusable(checkpoint, str(corrupt))
        except StoreFailed as failure:
            if not failure.missing:
                raise
            unusable(checkpoint, str(failure))
    return None


def _put_back_own(kept: dict[str, Any], resumable: Resumable, device: torch.device) -> None:
    """Put back; code of a team's own may have changed since, and then it does not fit."""
    try:
        _put_back(kept, resumable, device)
    except (RuntimeError, ValueError, KeyError) as failure:
        if resumable.proof is None:
            raise
        detail = f"does not fit what its checkpoint holds; has it changed since? {failure}"
        raise EntryPointUnfit(resumable.proof.name, detail) from failure


def _put_back(kept: dict[str, Any], resumable: Resumable, device: torch.device) -> None:
    resumable.network.load_state_dict(kept["network"])
    resumable.optimizer.load_state_dict(kept["optimizer"])
    if resumable.precision.scaler is not None and kept["scaler"] is not None:
        resumable.precision.scaler.load_state_dict(kept["scaler"])
    restore_random_states(kept["random"], device)
    resumable.state = LoopState.from_plain(kept["state"])
    resumable.epoch_start = [weight.to(device) for weight in kept["epoch_start"]]
    best: dict[str, Tensor] | None = kept["best"]
    resumable.best = best and {name: weight.to(device) for name, weight in best.items()}


def read_checkpoint(checkpoint: Kept) -> dict[str, Any]:
    """Return what `save_checkpoint` wrote, its tensors on the CPU.

    From there each part is moved as it must be: an optimizer's step counters stay on the CPU,
    where reading them costs no synchronisation.

    Raises:
        StoreFailed: it cannot be read.
        CheckpointCorrupt: it is not the file that was booked, or not of this format.

    """
    content, uri = read(checkpoint.uri), checkpoint.uri
    if hashlib.sha256(content).hexdigest() != checkpoint.sha256:
        raise CheckpointCorrupt(uri, "its sha256 is not the one that was booked")
    try:
        kept: dict[str, Any] = torch.load(
            io.BytesIO(content), map_location="cpu", weights_only=True
        )
    except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as failure:
        # It is the file that was booked: another release of torch wrote it in another way.
        raise CheckpointCorrupt(uri, str(failure)) from failure
    if kept.get("format") != FORMAT:
        raise CheckpointCorrupt(uri, f"its format is {kept.get('format')!r}, not {FORMAT}")
    return kept
