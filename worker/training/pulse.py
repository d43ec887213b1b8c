"""A sign of life for whatever takes long, and the place where a cancel or a pause is heard."""

import time

from models.domain.lifecycle import Phase, Wish
from worker.training.errors import Cancelled, Suspended
from worker.training.sink import Sink, StopSignal

_EVERY_SECONDS = 0.5
_LEFT_AT_ONCE = frozenset({Phase.LOAD, Phase.EVALUATE})
"""What is simply done again where training goes on later; the loop itself leaves between two
iterations, and a file is written to its end."""


class Pulse:
    """Knows what the training is doing, and since when; called often, it reports twice a second.

    Epoch and batch are always those of the training, whatever evaluates or saves meanwhile.
    """

    def __init__(self, sink: Sink, signal: StopSignal) -> None:
        self._sink, self._signal = sink, signal
        self._phase, self._epoch, self._batch = Phase.LOAD, 0, 0
        self._due = 0.0
        self.iteration = 0
        self.began = time.perf_counter()

    def enter(self, phase: Phase, epoch: int, batch: int) -> None:
        """Say what begins now."""
        self._phase, self._epoch, self._batch = phase, epoch, batch
        self._due = 0.0
        self.beat()

    def stand(self, epoch: int, batch: int) -> None:
        """Say where the training is, for the next report."""
        self._epoch, self._batch = epoch, batch

    def beat(self) -> None:
        """Show life.

        Raises:
            Cancelled: somebody wants that nothing more is computed.
            Suspended: somebody wants it to go on later, and what it does can be done again.

        """
        wish = self._signal.wanted()
        if wish is Wish.CANCEL:
            raise Cancelled(self.iteration)
        if wish is Wish.PAUSE and self._phase in _LEFT_AT_ONCE:
            raise Suspended(self.iteration)
        now = time.perf_counter()
        if now >= self._due:
            self._due = now + _EVERY_SECONDS
            self._sink.phase(str(self._phase), self._epoch, self._batch)
