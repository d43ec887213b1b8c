"""What a job that did not succeed leaves after all: the weights of a checkpoint."""

import torch

from models.domain.artifacts import BEST_WEIGHTS, SOURCE, WEIGHTS
from models.domain.lifecycle import StopReason
from worker.training.artifacts import leave, safetensors
from worker.training.checkpoint import read_checkpoint
from worker.training.files import Store
from worker.training.sink import Ended, Sink, StopSignal, TrainRequest


def salvage(request: TrainRequest, sink: Sink, _signal: StopSignal) -> Ended:
    """Make a job's weights, and the source of its network, of the request's one checkpoint.

    Nothing is computed and no data is loaded. Everything is written below the attempt's own
    folder, as if training had been stopped at the checkpoint's iteration.

    Returns:
        As of a training that was stopped there.

    Raises:
        StoreFailed: the checkpoint cannot be read, or a file not be written.
        CheckpointCorrupt: it is not the file that was booked; the one before it may be.

    """
    kept = read_checkpoint(request.checkpoints[0], torch.device("cpu"))
    store = Store(request.artifacts_url, request.attempt)
    sha256 = leave(store, sink, WEIGHTS, "weights", safetensors(kept["network"]))
    leave(store, sink, SOURCE, "network", kept["source"].encode())
    if kept["best"] is not None:
        leave(store, sink, BEST_WEIGHTS, "weights", safetensors(kept["best"]))
    return Ended(StopReason.STOPPED, int(kept["state"]["iteration"]), None, sha256)
