"""One word for everybody in the process: leave. It may be said from a signal handler."""

import time
from collections.abc import Callable


class Shutdown:
    """Whether the worker is to leave, and until when there is grace.

    Plain attributes, no lock: a second signal may come while the first is being handled, and
    a handler that waits for a lock of the thread it interrupts waits for ever.

    Args:
        grace_seconds: how long everything may take.
        clock: seconds that only rise.

    """

    def __init__(self, grace_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._grace_seconds = grace_seconds
        self._clock = clock
        self._deadline: float | None = None

    def begin(self) -> None:
        """Say it; to say it again changes nothing."""
        if self._deadline is None:
            self._deadline = self._clock() + self._grace_seconds

    @property
    def begun(self) -> bool:
        return self._deadline is not None

    @property
    def remaining_seconds(self) -> float:
        """What is left of the grace; all of it before the word is said."""
        if self._deadline is None:
            return self._grace_seconds
        return max(0.0, self._deadline - self._clock())

    @property
    def over(self) -> bool:
        """The grace is used up."""
        return self._deadline is not None and self._clock() >= self._deadline
