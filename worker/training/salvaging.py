"""What a job that did not succeed leaves after all: the weights of a checkpoint."""

from typing import Any

from models.domain.artifacts import BEST_WEIGHTS, SOURCE, WEIGHTS
from models.domain.checkpoints import Kept
from models.domain.lifecycle import StopReason
from worker.training.artifacts import leave, safetensors
from worker.training.checkpoint import read_checkpoint
from worker.training.errors import CheckpointMissing, StoreFailed
from worker.training.files import Store
from worker.training.sink import Ended, Sink, StopSignal, TrainRequest


def salvage(request: TrainRequest, sink: Sink, _signal: StopSignal) -> Ended:
    """Make a job's weights, and the source of its network, of the request's one checkpoint.

    Nothing is computed and no data is loaded. Everything is written as if training had been
    stopped at the checkpoint's iteration, below the request's `artifacts_url`: a folder of this
    salvage's own, for the attempt may still be running somewhere, cut off, and write its files.

    Returns:
        As of a training that was stopped there.

    Raises:
        CheckpointCorrupt: it is not the file that was booked; the one before it may be.
        CheckpointMissing: it, or weights in it, is not there; the one before it may be.
        StoreFailed: the store does not answer, or takes nothing: nobody can tell.

    """
    kept = _read(request.checkpoints[0])
    if kept["network"] is None:
        raise CheckpointMissing(request.checkpoints[0].uri, "its program kept no network in it")
    store = Store(request.artifacts_url, request.attempt)
    sha256 = leave(store, sink, WEIGHTS, "weights", safetensors(kept["network"]))
    if kept["source"] is not None:
        leave(store, sink, SOURCE, "network", kept["source"].encode())
    if kept["best"] is not None:
        leave(store, sink, BEST_WEIGHTS, "weights", safetensors(kept["best"]))
    return Ended(StopReason.STOPPED, int(kept["state"]["iteration"]), None, sha256)


def _read(checkpoint: Kept) -> dict[str, Any]:
    try:
        return read_checkpoint(checkpoint)
    except StoreFailed as failure:
        if not failure.missing:
            raise
        raise CheckpointMissing(checkpoint.uri, failure.detail) from failure
