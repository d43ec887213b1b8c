"""How a process of the API leaves: it answers what it has begun, and is gone in ten seconds.

uvicorn takes no new connection once it is told to end, waits GRACE_SECONDS for the answers that
are on their way, and then cuts them off. What here waits for something else than its own work, a
long poll or a stream of events, would always be cut off: it listens to `Leaving`.
"""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import anyio

# A stream whose reader is slower ends here, while there is still time to give back what it holds.
STREAM_SECONDS = 4.0
# Longer than any transaction that is not held up by somebody else. What comes after it, the
# interpreter's own end too, takes up to two seconds on a busy machine.
GRACE_SECONDS = 6
# After it the kernel ends the process, whatever hangs: a thread that waits for a lock can't be
# told to stop. With `--workers` the word reaches us half a second late, so it is not ten.
LAST_SECONDS = 9.0

SIGNALS = (signal.SIGTERM, signal.SIGINT)

Handler = Callable[[int, FrameType | None], object]


class Leaving:
    """Whether this process has been told to leave; built inside the event loop that uses it.

    Args:
        stream_seconds: how long after the word `cutting_off` cuts off.

    """

    def __init__(self, stream_seconds: float = STREAM_SECONDS) -> None:
        self._stream_seconds = stream_seconds
        self._word = asyncio.Event()
        self._streams: set[anyio.CancelScope] = set()
        self._calls: list[Callable[[], object]] = []

    @property
    def begun(self) -> bool:
        return self._word.is_set()

    def begin(self) -> None:
        """Say the word; from the event loop only."""
        if not self.begun:
            self._word.set()
            for call in self._calls:
                call()
            asyncio.get_running_loop().call_later(self._stream_seconds, self._cut_off)

    def call(self, act: Callable[[], object]) -> None:
        """Have it called, in the event loop, when the word is said."""
        self._calls.append(act)

    async def within(self, seconds: float) -> bool:
        """Wait for the word for at most so many seconds; True once it has been said.

        What looks at something again and again sleeps here between two looks, and says good-bye
        to its client where this is True.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._word.wait(), seconds)
        return self.begun

    @contextlib.contextmanager
    def cutting_off(self) -> Iterator[None]:
        """Cancel what runs in here `stream_seconds` after the word.

        An answer that has begun and is not through is broken then, and its client sees that: the
        last chunk is missing, or bytes of the length that was promised.
        """
        with anyio.CancelScope() as stream:
            self._streams.add(stream)
            try:
                yield
            finally:
                self._streams.discard(stream)

    def _cut_off(self) -> None:
        for stream in self._streams:
            stream.cancel()


@contextlib.contextmanager
def hearing_signals(leaving: Leaving) -> Iterator[None]:
    """Let `leaving` hear the signals that end this process, before who listened to them so far.

    uvicorn has no hook for that; its handlers stand by the time an app's lifespan begins, and are
    called on from here. A server in another thread than the main one hears no signals: there
    nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[signal.Signals, Handler] = {}
    for number in SIGNALS:
        handler = signal.getsignal(number)
        if callable(handler):
            before[number] = handler
    hear = _hearing(leaving, before)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for number in before:
        signal.signal(number, hear)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hearing(leaving: Leaving, before: dict[signal.Signals, Handler]) -> Handler:
    loop = asyncio.get_running_loop()
    heard = False

    def hear(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        # A second signal gives no more time. The kernel's own clock, as no thread may be started
        # here: the signal may have come while the main thread starts one.
        if not heard:
            signal.setitimer(signal.ITIMER_REAL, LAST_SECONDS)
        heard = True
        loop.call_soon_threadsafe(leaving.begin)
        before[signal.Signals(number)](number, frame)

    return hear
