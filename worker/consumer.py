"""The worker's connection that takes tickets: back soon, and renewed where it died without a sign.

A firewall may forget a connection and tell neither side: then the consumer waits for an answer
that never comes, while a new connection would work. Kombu notices by itself after 26 to 51 s.
"""

import contextlib
import math
import time
from functools import partial
from typing import Any

from celery import Celery
from celery.worker import WorkController
from celery.worker.consumer import Consumer
from sqlalchemy import Engine

from foundation.logging import get_logger
from services.claims import more_wait
from services.database import transaction
from services.fleet import Worker
from worker.rounds import Round
from worker.shutdown import Shutdown
from worker.workshop import Workshop

log = get_logger("worker")

SILENCE_SECONDS = 10.0
"""So long no ticket comes while a job waits that a free slot could take."""
LOOK_SECONDS = 1.0
RECONNECT_SECONDS = 1.0


class SteadyConsumer(Consumer):  # type: ignore[misc]  # celery has no types
    """Asks for a lost broker at a steady pace.

    Kombu's own pauses grow by two seconds each, up to thirty: a broker that was away for a minute
    would be found again a quarter of a minute late, by every worker.
    """

    def ensure_connected(self, conn: Any) -> Any:  # noqa: ANN401 - as its base
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=RECONNECT_SECONDS, interval_step=0
        )
        return super().ensure_connected(conn)


class ConsumerSilent(ConnectionError):
    """The broker connection is taken for dead; Celery meets it as any connection that is lost."""


class Watch:
    """Renews the consumer's connection where it takes nothing while it could.

    Args:
        controller: Celery's worker.
        engine: the way to the database.
        worker: as it stands in the fleet.
        workshop: its slots.
        shutdown: once begun, nothing is renewed.
        seconds: of silence that are too many.

    """

    def __init__(
        self,
        controller: WorkController,
        engine: Engine,
        worker: Worker,
        workshop: Workshop,
        shutdown: Shutdown,
        *,
        seconds: float = SILENCE_SECONDS,
    ) -> None:
        self._controller = controller
        self._engine = engine
        self._queues = worker.queues
        self._workshop = workshop
        self._shutdown = shutdown
        self._seconds = seconds
        self._waiting_since: float | None = None
        self._renewed_at = -math.inf
        self.round = Round("consumer", LOOK_SECONDS, self.look)

    def look(self) -> None:
        """Renew the connection if it is time.

        Raises:
            OUTAGES: the database is away.
            kombu.exceptions.OperationalError: it is time, but the broker is away.

        """
        # Forgotten first: where the database is away, nobody knows that a job waits.
        since, self._waiting_since = self._waiting_since, None
        if self._shutdown.begun or not self._job_waits():
            return
        now = time.monotonic()
        self._waiting_since = since or now
        seconds = now - max(self._waiting_since, self._workshop.ticket_at, self._renewed_at)
        if seconds >= self._seconds and broker_answers(self._controller.app):
            self._renewed_at = now
            renew(self._controller, seconds)

    def _job_waits(self) -> bool:
        devices = self._workshop.free_devices
        if not devices:
            return False
        with transaction(self._engine) as connection:
            packages = self._workshop.packages
            return any(more_wait(connection, queue, devices, packages) for queue in self._queues)


def broker_answers(app: Celery) -> bool:
    """Whether a new connection works; where not, the old one is as good, and back at once.

    Raises:
        kombu.exceptions.OperationalError: the broker is away or hangs.

    """
    with app.connection_for_read() as connection:
        return bool(connection.default_channel.client.ping())


def renew(controller: WorkController, seconds: float) -> None:
    """Let Celery's event loop lose its connection and make a new one; jobs in slots go on.

    Args:
        controller: Celery's worker.
        seconds: for the log: how long nothing came.

    """
    consumer, hub = controller.consumer, controller.hub
    connection = consumer and consumer.connection
    if hub is not None and connection:
        hub.call_soon(_lose, consumer, connection, seconds)


def _lose(consumer: Any, connection: Any, seconds: float) -> None:  # noqa: ANN401 - celery has no types
    # By the time the loop gets to it, it may have lost the connection by itself.
    if consumer.connection is connection:
        log.warning("consumer.renewed", silent_seconds=round(seconds, 1))
        # Otherwise Celery would wait 5 s for a last answer that may still be on its way.
        with contextlib.suppress(AttributeError):
            consumer.task_consumer.channel.client.connection.disconnect()
        raise ConsumerSilent(f"no ticket for {seconds:.0f} s, though a job waits")
