"""Want of memory, by one name, whoever noticed it."""

import contextlib
from collections.abc import Iterator

from worker.training.errors import OutOfMemory

_NO_ROOM = ("can't allocate memory", "not enough memory", "out of memory")


@contextlib.contextmanager
def named(device: str) -> Iterator[None]:
    """Give what Python and torch raise for want of memory as OutOfMemory."""
    try:
        yield
    except MemoryError as failure:
        raise OutOfMemory(device, "the host has no memory left") from failure
    except RuntimeError as failure:
        # torch's CPU allocator has no error of its own; the CUDA one's is a RuntimeError too.
        if any(words in str(failure).lower() for words in _NO_ROOM):
            raise OutOfMemory(device, str(failure).splitlines()[0]) from failure
        raise
