"""Questions to things that may hang: asked once at a time, answered in time or given up."""

import asyncio
import threading
import time
from collections.abc import Callable
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
            self._asked = self._start()
        return await asyncio.wait_for(asyncio.shield(self._asked), seconds)

    def _stale(self) -> bool:
        return time.monotonic() - self._answered_at > FRESH_SECONDS

    def _start(self) -> asyncio.Future[Answer]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()

        def settle(give: Callable[[], None]) -> None:
            self._answered_at = time.monotonic()
            if not future.cancelled():
                give()
                # One that nobody waited for any more is no error of the loop's.
                future.exception()

        def run() -> None:
            try:
                found = self._ask()
            except Exception as error:  # noqa: BLE001 - a thread's edge: the asker gets it
                give = _raiser(future, error)
            else:
                give = _setter(future, found)
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, give)

        threading.Thread(target=run, name="probe", daemon=True).start()
        return future


def _setter(future: asyncio.Future[Answer], found: Answer) -> Callable[[], None]:
    return lambda: future.set_result(found)


def _raiser(future: asyncio.Future[Answer], error: Exception) -> Callable[[], None]:
    return lambda: future.set_exception(error)
