"""Named moments at which a fault would hurt most.

In service nothing happens there. The chaos tests install a hook that ends, stops or fails the
process just then, so that each moment is hit as often as a proof needs, and counted.
"""

from collections.abc import Callable
from enum import StrEnum


class Moment(StrEnum):
    """Where the process is when `reach` is called."""

    CLAIM = "claim"
    """A job is claimed, and the claim is not committed yet."""
    REWIND = "rewind"
    """Rows after a checkpoint are gone from the book, and that is not committed yet."""
    BEFORE_COPY = "before_copy"
    """A flush has crossed the fence; its rows are not written yet."""
    AFTER_COPY = "after_copy"
    """A flush has written its rows and nothing that belongs to them."""
    BEFORE_COMMIT = "before_commit"
    """All of a flush is written."""
    AFTER_COMMIT = "after_commit"
    """The commit is done, and nobody here knows it yet."""
    CHECKPOINT_WRITTEN = "checkpoint_written"
    """A checkpoint's file is complete, and no row names it yet."""


class ArchiveMoment(StrEnum):
    """The same, where rows become a file: beside the training, which chaos is about."""

    PART_WRITTEN = "archive_part_written"
    """Some of a job's rows are in a file that is not whole yet."""
    WRITTEN = "archive_written"
    """The file of a job's rows is complete, and no row names it yet."""
    BOOKED = "archive_booked"
    """A job's rows are read from its file, and all of them are still in the table."""
    ROWS_REMOVED = "archive_rows_removed"
    """Some of an archived job's rows are removed from the table."""


Hook = Callable[[Moment | ArchiveMoment], None]
_hooks: list[Hook] = []


def reach(moment: Moment | ArchiveMoment) -> None:
    """Say that this process has come to the moment."""
    for hook in _hooks:
        hook(moment)


def install(hook: Hook) -> None:
    """Have the hook called at each moment of this process; for tests."""
    _hooks.append(hook)
