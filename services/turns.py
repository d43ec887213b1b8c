"""A turn at what may take long: who is left comes next time."""

import time


class Turn:
    """Says whether there is time for one more; the first always has some.

    Args:
        seconds: how long it is.

    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: float | None = None

    def has_room(self) -> bool:
        now = time.monotonic()
        if self._until is None:
            self._until = now + self._seconds
            return True
        return now < self._until
