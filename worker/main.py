"""The worker process: Celery outside, a forkserver beside, a supervisor a slot."""

import os
import signal
import socket
import threading
import time
from collections.abc import Sequence
from types import FrameType

from celery import Celery
from celery.worker import WorkController
from celery.worker import state as celery_state
from sqlalchemy import Engine

from foundation.logging import configure_logging, get_logger
from foundation.settings import Settings
from migrations.run import check_schema
from services.broker import make_celery
from services.database import make_engine, transaction
from services.fleet import Worker, heartbeat, leave
from services.hints import Notifier
from services.reaping import WORKER_SESSION
from worker.archiver import Archiver
from worker.consumer import SteadyConsumer, Watch
from worker.devices import slot_devices
from worker.forkserver import start_forkserver
from worker.packages import offers_of
from worker.pool import SlotPool, wake
from worker.reaper import reaping
from worker.rounds import Reconciler, Round, forgetting, heart, stop
from worker.salvage import Salvager
from worker.shutdown import Shutdown
from worker.supervisor import TRAIN
from worker.sweeper import sweeper
from worker.tasks import add_task, celery_queues
from worker.trainer import kill_all
from worker.workshop import Workshop

log = get_logger("worker")

LEAVE_SECONDS = 2.0
"""How long threads that may hang on database or broker are waited for."""
OTHER_CONNECTIONS = 9
"""Beside one a slot: two for the salvager and the archiver each, one for each other round."""
WATCH_SECONDS = 0.1


def run_worker(settings: Settings, *, train: str = TRAIN, cuda_devices: int | None = None) -> None:
    """Run a worker in the foreground until SIGTERM or SIGINT. Call from the main thread.

    Args:
        settings: all of them.
        train: where the training function is, "package.module:function".
        cuda_devices: take so many for granted; None to count them.

    Raises:
        SchemaBehind: a migration is still to be run.
        ForkserverUnfit: trainers could not be started.

    """
    configure_logging(settings.log)
    notifier = Notifier(_engine(settings, "gradbook notifier", 1))
    notifier.start()
    reaper = _start_reaper(settings, notifier)
    # Before Celery puts its hands on signals.
    counted = start_forkserver()
    cuda_devices = counted if cuda_devices is None else cuda_devices
    worker = _introduce(settings, slot_devices(settings.worker.slots, cuda_devices))
    for package in sorted({*settings.entrypoint_packages} - {*worker.offers}):
        log.warning("worker.package_missing", package=package)
    engine = _engine(settings, WORKER_SESSION, len(worker.devices) + OTHER_CONNECTIONS)
    app = make_celery(settings.broker)
    shutdown = Shutdown(settings.worker.grace_seconds)
    reconciler = Reconciler(engine, app, settings.worker.reconcile_seconds)
    workshop = Workshop(
        settings,
        engine,
        worker,
        shutdown,
        pass_on=reconciler.pass_on,
        hand_over=reconciler.hand_over,
        tell=notifier.tell,
        train=train,
    )
    add_task(app, workshop)
    controller = _controller(app, worker)
    _obey_signals(controller, shutdown)
    watch = Watch(controller, engine, worker, workshop, shutdown)
    rounds = (
        heart(engine, worker),
        reconciler.round,
        watch.round,
        Salvager(engine, settings, shutdown).round,
        forgetting(engine),
        sweeper(engine, shutdown),
        Archiver(engine, settings, shutdown, notifier.tell).round,
    )
    _serve(controller, engine, worker, rounds)
    stop([reaper], LEAVE_SECONDS)
    notifier.stop()


def _serve(
    controller: WorkController, engine: Engine, worker: Worker, rounds: Sequence[Round]
) -> None:
    with transaction(engine) as connection:
        heartbeat(connection, worker)
    for each in rounds:
        each.start()
    log.info(
        "worker.ready",
        worker=worker.name,
        devices=worker.devices,
        queues=worker.queues,
        packages=sorted(worker.offers),
    )
    try:
        controller.start()
    finally:
        stop(rounds, LEAVE_SECONDS)
        with transaction(engine) as connection:
            leave(connection, worker)
        engine.dispose()
        log.info("worker.left", worker=worker.name)


def _introduce(settings: Settings, devices: tuple[str, ...]) -> Worker:
    host = socket.gethostname()
    return Worker(
        name=settings.worker.name or f"{host}:{os.getpid()}",
        host=host,
        pid=os.getpid(),
        devices=devices,
        queues=settings.worker.queue_names,
        offers=offers_of(settings.entrypoint_packages),
    )


def _engine(settings: Settings, name: str, connections: int) -> Engine:
    """An engine whose sessions, where this process is stopped in a transaction, hold no row for
    longer than it would own a job.
    """
    room = settings.database.model_copy(update={"pool_size": connections})
    return make_engine(
        room, application_name=name, idle_timeout_seconds=settings.worker.lease_seconds
    )


def _start_reaper(settings: Settings, notifier: Notifier) -> Round:
    """Let the reaper look on while trainers' imports take their seconds.

    It may reap only once it has had the database in sight for a lease period, and where this is
    the only worker nobody else looks for what the one before it has left.
    """
    engine = _engine(settings, "gradbook reaper", 1)
    check_schema(engine)
    reaper = reaping(
        engine,
        settings.worker.lease_seconds,
        settings.worker.reconcile_seconds,
        notifier.tell,
    )
    reaper.start()
    return reaper


def _controller(app: Celery, worker: Worker) -> WorkController:
    """Celery's worker without its program: that would bring a banner and signal handlers.

    Its own handlers end nothing in a pool of threads, and a second signal wedges them.
    """
    return app.WorkController(
        hostname=worker.name,
        pool=SlotPool,
        consumer_cls=SteadyConsumer,
        concurrency=len(worker.devices),
        queues=celery_queues(tuple(worker.queues)),
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        optimization="fair",
    )


def _obey_signals(controller: WorkController, shutdown: Shutdown) -> None:
    """SIGTERM and SIGINT say leave; said twice they say no more than once."""

    def leave_now(_number: int, _frame: FrameType | None) -> None:
        shutdown.begin()
        celery_state.should_stop = os.EX_OK

    signal.signal(signal.SIGTERM, leave_now)
    signal.signal(signal.SIGINT, leave_now)
    threading.Thread(
        target=_see_it_through, args=(controller, shutdown), name="shutdown", daemon=True
    ).start()


def _see_it_through(controller: WorkController, shutdown: Shutdown) -> None:
    """Wake Celery when the word has come, and end the process where it does not go in time."""
    while not shutdown.begun:
        time.sleep(WATCH_SECONDS)
    log.info("worker.leaving")
    while not shutdown.over:
        # Celery looks at the word only when its event loop wakes.
        wake(controller.hub)
        time.sleep(WATCH_SECONDS)
    log.error("worker.out_of_grace")
    kill_all()
    os._exit(os.EX_SOFTWARE)


if __name__ == "__main__":
    run_worker(Settings())
