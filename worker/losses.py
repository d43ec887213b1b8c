"""The hash of all losses that a job's book holds, kept by the attempt that writes them.

An attempt that goes on has not seen the losses before it. They are read a piece at a time, with a
sign of life between two: read in one go, or under a lock, those of a long run would outlast the
lease.
"""

import hashlib
from collections.abc import Callable, Iterator

from models.rows import Rows

PIECE_ROWS = 250_000

Read = Callable[[int, int], bytes]
"""Reads the losses of iterations `first` to `last`, as little-endian float64 bytes."""
Beat = Callable[[], None]


class BookedLosses:
    """Args:
    read: from the book.
    iteration: what the book holds when the attempt begins.
    """

    def __init__(self, read: Read, iteration: int) -> None:
        self._read = read
        self._reached = iteration
        self._known = None if iteration else hashlib.sha256()

    def go_on_at(self, iteration: int, beat: Beat) -> None:
        """What the book holds up to this iteration stays; the rest is taken back.

        Args:
            iteration: the last that stays.
            beat: called after each piece that was read.

        """
        self._reached = iteration
        self._known = hashlib.sha256()
        for first, last in _pieces(iteration):
            self._known.update(self._read(first, last))
            beat()

    def add(self, rows: Rows) -> None:
        """These rows are in the book now."""
        self._reached = int(rows["iteration"][-1])
        if self._known is not None:
            self._known.update(rows["loss"].tobytes())

    def sha256(self, rows: Rows | None, beat: Beat) -> str:
        """Hash what the book holds, and these rows after it."""
        if self._known is None:
            self.go_on_at(self._reached, beat)
        whole = hashlib.sha256() if self._known is None else self._known.copy()
        if rows is not None:
            whole.update(rows["loss"].tobytes())
        return whole.hexdigest()


def _pieces(iterations: int) -> Iterator[tuple[int, int]]:
    for first in range(1, iterations + 1, PIECE_ROWS):
        yield first, min(first + PIECE_ROWS - 1, iterations)
