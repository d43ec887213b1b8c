"""A checkpoint as it is booked, and what an attempt that goes on tells of the one it took."""

from typing import Any, NamedTuple


class Kept(NamedTuple):
    """A booked checkpoint: a file that an attempt can go on from."""

    iteration: int
    uri: str
    sha256: str


class Resumed(NamedTuple):
    """Where an attempt goes on.

    Args:
        iteration: the last that is not trained again; 0: no checkpoint was good, or there is none.
        epochs: how many epochs are done and booked at that iteration.
        like: whether everything up to it was computed on a machine like this one.

    """

    iteration: int
    epochs: int
    like: bool

    def to_plain(self) -> dict[str, Any]:
        return self._asdict()
