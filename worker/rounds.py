"""What a worker does beside its jobs: the heartbeat of the fleet, and tickets that are missing."""

import threading
import time
from collections.abc import Callable

from celery import Celery
from sqlalchemy import Engine

from foundation.logging import get_logger
from services.broker import ticket, tickets_waiting
from services.database import transaction
from services.fleet import Worker, heartbeat
from services.reconciling import queues_in_need

log = get_logger("worker")

HEARTBEAT_SECONDS = 5.0


class Round:
    """A thread that does one thing every so often, or at once when it is nudged.

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
        self._stopped = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def nudge(self) -> None:
        self._nudged.set()

    def stop(self, seconds: float) -> None:
        """Let the thread end; one that hangs is left behind."""
        self._stopped = True
        self._nudged.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stopped:
            self._nudged.clear()
            try:
                self._step()
                self._failing = False
            except Exception as error:  # noqa: BLE001 - a thread's edge: database or broker is away
                if not self._failing:
                    log.warning("round.failed", round=self._name, reason=str(error)[:500])
                self._failing = True
            self._nudged.wait(self._seconds)


def heart(engine: Engine, worker: Worker) -> Round:
    """Keeps the worker's row in the fleet fresh."""

    def beat() -> None:
        with transaction(engine) as connection:
            heartbeat(connection, worker)

    return Round("heartbeat", HEARTBEAT_SECONDS, beat)


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
        self._passed_on: set[str] = set()
        self.round = Round("reconciler", seconds, self._step)

    def pass_on(self, queue: str) -> None:
        """Publish one more ticket for the queue soon; never blocks."""
        with self._lock:
            self._passed_on.add(queue)
        self.round.nudge()

    def _step(self) -> None:
        with self._lock:
            queues, self._passed_on = self._passed_on, set()
        for queue in queues:
            ticket(self._app, queue)
        if time.monotonic() >= self._due_at:
            self._due_at = time.monotonic() + self._seconds
            self._reconcile()

    def _reconcile(self) -> None:
        with transaction(self._engine) as connection:
            needed = queues_in_need(connection)
        for queue in needed:
            for _ in range(queue.tickets - tickets_waiting(self._app, queue.name)):
                ticket(self._app, queue.name)
                log.info("ticket.made_up", queue=queue.name)
