"""The one Celery task: take a ticket, work until nothing fits."""

from celery import Celery

from services.broker import TICKET, queue_key
from worker.workshop import Workshop


def add_task(app: Celery, workshop: Workshop) -> None:
    """Register `gradbook.ticket` with the app; its thread becomes a job's supervisor."""

    @app.task(name=TICKET, ignore_result=True)  # type: ignore[untyped-decorator]
    def take_ticket(queue: str) -> None:
        workshop.work(queue)


def celery_queues(queues: tuple[str, ...]) -> str:
    """The Celery queues of the job queues, as Celery's worker wants them."""
    return ",".join(queue_key(queue) for queue in queues)
