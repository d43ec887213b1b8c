"""Tickets leave on a thread of their own: a broker that hangs must not hang a POST.

What is to be published is a number a queue, so a flood of jobs is a handful of tickets and
a broker that is away costs no memory. A ticket that could not be published is dropped: the
workers' reconciler puts it right within seconds of the broker's return.
"""

import threading
from collections.abc import Callable

from foundation.logging import get_logger

log = get_logger("api")

MOST_TICKETS_A_QUEUE = 64
MOST_QUEUES = 1_000
PAUSE_SECONDS = 0.02
"""Between two tickets: each costs a tenth of what a submit costs, and a slot that takes one passes
on another where more work waits."""
# A process that was told to leave has little time.
STOP_SECONDS = 1.0

Publish = Callable[[str], None]


class Tickets:
    """Publishes tickets in the background.

    Args:
        publish: sends one ticket for the queue it is given; may block, may raise.

    """

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._waiting: dict[str, int] = {}
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._away = False
        self._thread = threading.Thread(target=self._run, name="tickets", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end; one that hangs on the broker is left behind as a daemon."""
        with self._changed:
            self._stopped.set()
            self._changed.notify()
        self._thread.join(STOP_SECONDS)

    def wake(self, queue: str, jobs: int = 1) -> None:
        """Say that so many more jobs wait in the queue. Returns at once, whatever the broker."""
        with self._changed:
            if queue not in self._waiting and len(self._waiting) >= MOST_QUEUES:
                return
            wanted = self._waiting.get(queue, 0) + jobs
            self._waiting[queue] = min(wanted, MOST_TICKETS_A_QUEUE)
            self._changed.notify()

    def _run(self) -> None:
        while (queue := self._next()) is not None:
            try:
                self._publish(queue)
            except Exception as error:  # noqa: BLE001 - a thread's edge: any broker error is one
                self._failed(queue, error)
            else:
                self._away = False
            self._stopped.wait(PAUSE_SECONDS)

    def _next(self) -> str | None:
        """Wait for the next queue that needs a ticket; None once stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped.is_set() or self._waiting)
            if self._stopped.is_set():
                return None
            queue = next(iter(self._waiting))
            self._waiting[queue] -= 1
            if not self._waiting[queue]:
                del self._waiting[queue]
            return queue

    def _failed(self, queue: str, error: Exception) -> None:
        with self._changed:
            self._waiting.pop(queue, None)
        if not self._away:
            log.warning("tickets.broker_away", queue=queue, error=repr(error))
        self._away = True
