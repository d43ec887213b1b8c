"""What a worker does beside its jobs: the heartbeat of the fleet, and tickets that are missing."""

import math
import threading
import time
from collections.abc import Callable, Sequence

from celery import Celery
from sqlalchemy import Engine

from foundation.logging import get_logger
from services.broker import ticket, tickets_waiting
from services.database import transaction
from services.fleet import Worker, heartbeat
from services.idempotency import forget_old_keys
from services.reconciling import queues_in_need

log = get_logger("worker")

HEARTBEAT_SECONDS = 5.0
FORGETTING_SECONDS = 600.0
HANDOVER_SECONDS = 0.25
"""At least between two tickets of a queue that this worker hands over: where the book knows of a
free slot and its worker is gone, the others would throw its ticket to and fro without a pause."""


class Round:
    """A thread that does one thing every so often, or sooner when it is nudged.

    Args:
        name: of the thread, and in the log.
        seconds: between two times.
        step: what it does; an error is logged and the next time comes as ever.

    """

    def __init__(self, name: str, seconds: float, step: Callable[[], None]) -> None:
        self._name = name
        self._seconds = seconds
        self._step = step
        self._nudged = threading.Event()
        self._lock = threading.Lock()
        self._due_at = 0.0
        self._stopped = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def nudge(self, seconds: float = 0.0) -> None:
        """Do it in so many seconds, unless it comes sooner anyway."""
        with self._lock:
            self._due_at = min(self._due_at, time.monotonic() + seconds)
        self._nudged.set()

    def tell_to_stop(self) -> None:
        """Let the thread end when its step is done."""
        self._stopped = True
        self._nudged.set()

    def wait_until_stopped(self, seconds: float) -> None:
        """Wait for the thread to end; one that hangs is left behind."""
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stopped:
            with self._lock:
                self._due_at = math.inf
            try:
                self._step()
                self._failing = False
            except Exception as error:  # noqa: BLE001 - a thread's edge: database or broker is away
                if not self._failing:
                    log.warning("round.failed", round=self._name, reason=str(error)[:500])
                self._failing = True
            self.nudge(self._seconds)
            self._wait()

    def _wait(self) -> None:
        while not self._stopped and (seconds := self._due_at - time.monotonic()) > 0:
            self._nudged.wait(seconds)
            self._nudged.clear()


def stop(rounds: Sequence[Round], seconds: float) -> None:
    """Stop them all together, within so many seconds."""
    deadline = time.monotonic() + seconds
    for each in rounds:
        each.tell_to_stop()
    for each in rounds:
        each.wait_until_stopped(max(0.0, deadline - time.monotonic()))


def heart(engine: Engine, worker: Worker) -> Round:
    """Keeps the worker's row in the fleet fresh."""

    def beat() -> None:
        with transaction(engine) as connection:
            heartbeat(connection, worker)

    return Round("heartbeat", HEARTBEAT_SECONDS, beat)


def forgetting(engine: Engine) -> Round:
    """Forgets idempotency keys that are older than was promised."""

    def forget() -> None:
        with transaction(engine) as connection:
            forget_old_keys(connection)

    return Round("old keys", FORGETTING_SECONDS, forget)


class Reconciler:
    """Publishes the tickets that are missing, and those that the slots ask it to pass on.

    Args:
        engine: the way to the database.
        app: the way to the broker; it may be away or hang, nobody waits for this thread.
        seconds: between two comparisons of tickets with queued jobs.

    """

    def __init__(self, engine: Engine, app: Celery, seconds: float) -> None:
        self._engine = engine
        self._app = app
        self._seconds = seconds
        self._due_at = 0.0
        self._lock = threading.Lock()
        self._passed_on: dict[str, float] = {}
        self._handed_over: dict[str, float] = {}
        self.round = Round("reconciler", seconds, self._step)

    def pass_on(self, queue: str) -> None:
        """Publish one more ticket for the queue soon; never blocks."""
        with self._lock:
            self._passed_on[queue] = time.monotonic()
        self.round.nudge()

    def hand_over(self, queue: str) -> None:
        """Publish again a ticket that only another worker can use; never blocks.

        A broker serves the consumer first that has waited longest, so the ticket goes around the
        fleet once before it is here again; then it has to wait.
        """
        now = time.monotonic()
        with self._lock:
            if queue in self._passed_on:
                return
            due_at = max(now, self._handed_over.get(queue, 0.0) + HANDOVER_SECONDS)
            self._passed_on[queue] = self._handed_over[queue] = due_at
        self.round.nudge(due_at - now)

    def _step(self) -> None:
        for queue in self._take_due():
            ticket(self._app, queue)
        if time.monotonic() >= self._due_at:
            self._due_at = time.monotonic() + self._seconds
            self._reconcile()

    def _take_due(self) -> list[str]:
        now = time.monotonic()
        with self._lock:
            due = [queue for queue, due_at in self._passed_on.items() if due_at <= now]
            for queue in due:
                del self._passed_on[queue]
        return due

    def _reconcile(self) -> None:
        with transaction(self._engine) as connection:
            needed = queues_in_need(connection)
        for queue in needed:
            for _ in range(queue.tickets - tickets_waiting(self._app, queue.name)):
                ticket(self._app, queue.name)
                log.info("ticket.made_up", queue=queue.name)
