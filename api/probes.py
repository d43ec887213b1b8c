"""Questions to things that may hang: asked once at a time, answered in time or given up."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

Answer = TypeVar("Answer")

FRESH_SECONDS = 1.0


class Probe(Generic[Answer]):
    """Asks a blocking question on a thread of its own, however many want to know.

    While one question hangs no second one is asked, so what hangs costs one thread. The thread
    is a daemon: it keeps no process from ending.

    Args:
        ask: the question; may block for any time, may raise.

    """

    def __init__(self, ask: Callable[[], Answer]) -> None:
        self._ask = ask
        self._asked: asyncio.Future[Answer] | None = None
        self._answered_at = 0.0

    async def answer(self, seconds: float) -> Answer:
        """Give an answer that is at most a second old.

        Raises:
            TimeoutError: there was none within so many seconds.
            Exception: whatever the question raised.

        """
        if self._asked is None or (self._asked.done() and self._stale()):
            self._asked = asyncio.get_running_loop().create_future()
            thread = threading.Thread(
                target=self._run, args=(self._asked,), name="probe", daemon=True
            )
            thread.start()
        return await asyncio.wait_for(asyncio.shield(self._asked), seconds)

    def _stale(self) -> bool:
        return time.monotonic() - self._answered_at > FRESH_SECONDS

    def _run(self, asked: asyncio.Future[Answer]) -> None:
        try:
            settle = partial(asked.set_result, self._ask())
        except Exception as error:  # noqa: BLE001 - a thread's edge: the asker gets it
            settle = partial(asked.set_exception, error)
        self._answered_at = time.monotonic()
        # The loop may have ended while the question hung.
        with contextlib.suppress(RuntimeError):
            asked.get_loop().call_soon_threadsafe(_settle, asked, settle)


def _settle(asked: asyncio.Future[Answer], settle: Callable[[], None]) -> None:
    settle()
    # Read once, an error that nobody waits for any more is no complaint of the loop's.
    asked.exception()
