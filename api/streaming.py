"""Answers that are longer than memory: written piece by piece while they are read."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Connection
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from api.dependencies import Parts
from api.editions import Edition
from api.leaving import Leaving
from foundation.logging import get_logger

Piece = TypeVar("Piece")

log = get_logger("api")

# A client that takes nothing for so long loses its stream: others wait for its connection.
STALLED_CLIENT_SECONDS = 60.0


@dataclass(frozen=True)
class Writing(Generic[Piece]):
    """How pieces become the answer's bytes.

    Attributes:
        piece: turns a piece into bytes; runs in the threadpool.
        head: what stands before the first piece.
        tail: makes what stands behind the last one; runs in the threadpool.

    """

    piece: Callable[[Piece], bytes]
    media_type: str
    head: bytes = b""
    tail: Callable[[], bytes] = bytes


class PieceStream(StreamingResponse, Generic[Piece]):
    """Streams pieces, and closes what they are read from however the answer ends.

    The next piece is read while the one before is written as text and sent.

    Args:
        pieces: a blocking iterator; it is advanced in the threadpool.
        writing: how a piece becomes bytes.
        resources: closed when the answer is sent, its client has left, or it failed.
        leaving: cuts it off where the process has to leave before its client has read it.
        headers: more headers of the answer.
        patience_seconds: how long the client may take nothing.
        limit_seconds: how long all of it may take; then it is cut off, as in `leaving`.

    """

    def __init__(
        self,
        pieces: Iterator[Piece],
        writing: Writing[Piece],
        resources: AsyncExitStack,
        *,
        leaving: Leaving,
        headers: Mapping[str, str] | None = None,
        patience_seconds: float = STALLED_CLIENT_SECONDS,
        limit_seconds: float = math.inf,
    ) -> None:
        super().__init__(self._body(), media_type=writing.media_type, headers=headers)
        self._pieces, self._writing, self._resources = pieces, writing, resources
        self._leaving, self._patience_seconds = leaving, patience_seconds
        self._limit_seconds = limit_seconds
        self._reading: asyncio.Future[Piece | None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            with anyio.fail_after(self._patience_seconds):
                await send(message)

        try:
            with self._leaving.cutting_off(), anyio.move_on_after(self._limit_seconds) as limit:
                await super().__call__(scope, receive, send_in_time)
            if limit.cancelled_caught:
                log.warning("stream.cut_off", limit_seconds=self._limit_seconds)
        finally:
            with anyio.CancelScope(shield=True):
                await self._close()

    async def _body(self) -> AsyncIterator[bytes]:
        if self._writing.head:
            yield self._writing.head
        piece = await asyncio.shield(self._start_reading())
        while piece is not None:
            following = self._start_reading()
            yield await run_in_threadpool(self._writing.piece, piece)
            piece = await asyncio.shield(following)
        tail = await run_in_threadpool(self._writing.tail)
        if tail:
            yield tail

    def _start_reading(self) -> asyncio.Future[Piece | None]:
        self._reading = asyncio.ensure_future(run_in_threadpool(next, self._pieces, None))
        return self._reading

    async def _close(self) -> None:
        if self._reading is not None:
            # A thread may still use the connection: wait for it, whatever it brings.
            await asyncio.wait([self._reading])
            if not self._reading.cancelled():
                self._reading.exception()
        await self._resources.aclose()


async def stream_snapshot(
    parts: Parts,
    start: Callable[[Connection], Iterator[Piece]],
    writing: Writing[Piece],
    edition: Edition | None = None,
) -> Response:
    """Begin to read in a snapshot of the database that lives as long as the answer.

    What `start`, which runs in the threadpool, raises is raised here, before anything is sent.

    Args:
        parts: the process's; a stream takes one of its connections for streams.
        start: begins to read.
        writing: how what is read becomes bytes.
        edition: tells whether the client has all of this already: then it is a 304.

    """
    async with AsyncExitStack() as resources:
        connection = await resources.enter_async_context(parts.streams.snapshot())
        headers = await run_in_threadpool(edition.headers, connection) if edition else {}
        if edition and edition.is_known(headers):
            return Response(status_code=304, headers=headers)
        pieces = await run_in_threadpool(start, connection)
        return PieceStream(
            pieces,
            writing,
            resources.pop_all(),
            leaving=parts.leaving,
            headers=headers,
            limit_seconds=parts.settings.api.export_seconds,
        )
