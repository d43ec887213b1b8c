"""What API and worker agree on about the broker: one Celery configuration, one kind of ticket.

A ticket says only "there is work in queue Q"; the database decides which job it is.
"""

from celery import Celery

from foundation.settings import BrokerSettings

TICKET = "gradbook.ticket"


class BrokerUrlMissing(RuntimeError):
    """No broker is configured."""

    def __init__(self) -> None:
        super().__init__(
            "GRADBOOK_BROKER_URL is not set: name a Redis or Valkey, or run `gradbook up`, "
            "which brings its own"
        )


def make_celery(settings: BrokerSettings) -> Celery:
    """The Celery app of one process: JSON only, no results, every call to the broker bounded.

    Raises:
        BrokerUrlMissing: none is configured.

    """
    if settings.url is None:
        raise BrokerUrlMissing
    app = Celery("gradbook", broker=settings.url.get_secret_value(), set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=False,
        task_create_missing_queues=True,
        broker_connection_timeout=settings.timeout_seconds,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # Kombu's own default is to wait for ever: a hanging broker would hang its caller.
        broker_transport_options={
            "socket_timeout": settings.timeout_seconds,
            "socket_connect_timeout": settings.timeout_seconds,
            "socket_keepalive": True,
            "retry_on_timeout": False,
            "max_retries": 0,
        },
        worker_disable_prefetch=True,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        enable_utc=True,
    )
    return app


def queue_key(queue: str) -> str:
    """The Celery queue, which is also the broker's list, of a job queue."""
    return f"gradbook.{queue}"


def ticket(app: Celery, queue: str) -> None:
    """Publish one ticket for `queue`; for a thread of its own, it may take the time-out.

    Raises:
        kombu.exceptions.OperationalError: the broker is away or hangs.

    """
    app.send_task(TICKET, args=(queue,), queue=queue_key(queue), retry=False, ignore_result=True)


def tickets_waiting(app: Celery, queue: str) -> int:
    """How many tickets lie in the broker's list.

    Raises:
        kombu.exceptions.OperationalError: the broker is away or hangs.

    """
    with app.pool.acquire(block=True, timeout=2) as connection:
        return int(connection.default_channel.client.llen(queue_key(queue)))
