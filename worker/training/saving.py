"""What the world hears of checkpoints: one is written, can't be written, or is of no use."""

from collections.abc import Callable

from foundation.faults import Moment, reach
from models.domain.checkpoints import Kept
from worker.training.errors import StoreFailed
from worker.training.files import Stored
from worker.training.sink import Sink


class Saving:
    """Tells the sink; a store that fails costs a checkpoint and no training."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._warned = False

    def write(self, iteration: int, write: Callable[[], Stored]) -> bool:
        """Write a checkpoint of this iteration and tell of it; return whether it was written.

        Where the store fails that is told once, until a checkpoint succeeds again: a disk stays
        full for many checkpoints.
        """
        try:
            stored = write()
        except StoreFailed as failure:
            self._warn(iteration, failure)
            return False
        reach(Moment.CHECKPOINT_WRITTEN)
        facts = {"uri": stored.uri, "sha256": stored.sha256, "bytes": stored.bytes}
        self._sink.checkpoint({"iteration": iteration, **facts})
        self._warned = False
        return True

    def unusable(self, checkpoint: Kept, reason: str) -> None:
        """Tell of a checkpoint that can't be gone on from."""
        data = {"iteration": checkpoint.iteration, "reason": reason}
        self._sink.warning("a checkpoint can't be used; the one before it is tried", data)

    def _warn(self, iteration: int, failure: StoreFailed) -> None:
        if not self._warned:
            self._warned = True
            data = {"iteration": iteration, "reason": str(failure)}
            self._sink.warning("a checkpoint could not be written; training goes on", data)
