"""Answers that never end by themselves: server-sent events for as long as there is news."""

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.frames import MEDIA_TYPE
from api.leaving import Leaving
from api.streaming import STALLED_CLIENT_SECONDS
from api.telling import Seen, heartbeat
from api.viewers import Viewer
from foundation.logging import get_logger

log = get_logger("api")

HEADERS = {
    "Cache-Control": "no-store",
    # nginx would keep frames until it has a buffer full.
    "X-Accel-Buffering": "no",
}


class EventStream(Response):
    """Streams what is new since what its client has seen.

    It ends when there will be nothing new, when the process leaves, and when its client has gone
    or takes nothing. A client that was too slow comes back and goes on where it was.

    Args:
        watching: lets it be told what is new, for as long as it is entered.
        seen: what the client has seen.
        leaving: cuts it off where its client takes no good-bye.
        heartbeat_seconds: how long nothing is sent at most.
        patience_seconds: how long the client may take nothing.

    """

    media_type = MEDIA_TYPE

    def __init__(
        self,
        watching: Callable[[Seen], AbstractContextManager[Viewer]],
        seen: Seen,
        leaving: Leaving,
        *,
        heartbeat_seconds: float,
        patience_seconds: float = STALLED_CLIENT_SECONDS,
    ) -> None:
        super().__init__(headers=HEADERS)
        # Its length is not known.
        del self.headers["content-length"]
        self._watching, self._seen, self._leaving = watching, seen, leaving
        self._heartbeat_seconds = heartbeat_seconds
        self._patience_seconds = patience_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        with self._leaving.cutting_off(), self._watching(self._seen) as viewer:
            async with anyio.create_task_group() as tasks:

                async def until_gone() -> None:
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    tasks.cancel_scope.cancel()

                viewer.on_lost = tasks.cancel_scope.cancel
                tasks.start_soon(until_gone)
                with contextlib.suppress(TimeoutError):
                    await self._send_all(viewer, send)
                tasks.cancel_scope.cancel()

    async def _send_all(self, viewer: Viewer, send: Send) -> None:
        """Raise TimeoutError where the client takes nothing for too long."""
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        # At once, so that a client sees that it is connected, and from where on.
        chunk = heartbeat(self._seen)
        while chunk:
            async with asyncio.timeout(self._patience_seconds):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            chunk = await viewer.take(self._heartbeat_seconds)
            if not chunk and not viewer.over:
                chunk = heartbeat(viewer.seen)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
