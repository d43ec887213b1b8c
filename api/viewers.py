"""A viewer of a stream: what it was told and has not taken yet, and never much of that."""

import asyncio
import contextlib
from collections.abc import Callable

from api.telling import Seen, Telling
from models.domain.errors import GradbookError

MOST_WAITING_BYTES = 1_000_000


class StreamsFull(GradbookError):
    """The process serves as many streams as it may."""

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} live streams are open here already")


class Viewer:
    """One client of a stream; used within the event loop.

    Args:
        seen: what it has seen before.
        ready: called when it has taken everything, and was not told all there was.

    Attributes:
        seen: what it will have seen once it has taken what waits for it.
        over: nothing more will be told.
        on_lost: called where it did not take what it was told, and loses its stream.

    """

    def __init__(self, seen: Seen, ready: Callable[[], None]) -> None:
        self.seen = seen
        self.over = False
        self.on_lost: Callable[[], object] = self.end
        self._ready = ready
        self._behind = False
        self._chunks: list[bytes] = []
        self._waiting_bytes = 0
        self._news = asyncio.Event()

    @property
    def can_be_told(self) -> bool:
        """Whether it is to be told what is new; who has much to catch up takes piece by piece."""
        return not self.over and not (self._behind and self._chunks)

    def tell(self, telling: Telling) -> None:
        """Let it have what is new; where too much waits for it already, its stream is over."""
        self.seen, self._behind = telling.seen, not telling.whole
        self.give(telling.chunk)
        if telling.over:
            self.end()

    def give(self, chunk: bytes) -> None:
        """Let it have these bytes."""
        if not chunk or self.over:
            return
        if self._chunks and self._waiting_bytes + len(chunk) > MOST_WAITING_BYTES:
            self.over = True
            self.on_lost()
            return
        self._chunks.append(chunk)
        self._waiting_bytes += len(chunk)
        self._news.set()

    def end(self) -> None:
        """Tell it nothing more once it has taken what waits for it."""
        self.over = True
        self._news.set()

    async def take(self, seconds: float) -> bytes:
        """Wait for what is new for at most so many seconds; empty where there is nothing."""
        if not self._chunks and not self.over:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._news.wait()
        chunk = b"".join(self._chunks) if len(self._chunks) != 1 else self._chunks[0]
        self._chunks.clear()
        self._waiting_bytes = 0
        if self._behind:
            self._ready()
        return chunk
