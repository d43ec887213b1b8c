"""When the consumer's connection is renewed, and when it is left alone."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import kombu.exceptions
import pytest
import sqlalchemy.exc
from pydantic import SecretStr
from sqlalchemy import Engine

from foundation.settings import BrokerSettings, DatabaseSettings, Settings
from services.broker import make_celery
from services.database import make_engine, transaction
from services.fleet import Worker
from tests.bookings import book_job
from tests.processes import free_port
from tests.versions import on_newest_postgres
from worker.consumer import ConsumerSilent, Watch
from worker.shutdown import Shutdown
from worker.workshop import Workshop

pytestmark = on_newest_postgres

LONG_SECONDS = 100.0


@dataclass
class Loop:
    """Celery's loop and consumer, as far as a renewal touches them: what is to be done is kept."""

    app: Any
    called: list[tuple[Callable[..., None], tuple[Any, ...]]] = field(default_factory=list)
    connection: object = field(default_factory=object)

    @property
    def hub(self) -> "Loop":
        return self

    @property
    def consumer(self) -> "Loop":
        return self

    def call_soon(self, callback: Callable[..., None], *arguments: object) -> None:
        self.called.append((callback, arguments))


@dataclass
class Scene:
    engine: Engine
    settings: Settings
    workshop: Workshop
    shutdown: Shutdown
    loop: Loop

    def watch(self, seconds: float = 0.0, engine: Engine | None = None) -> Watch:
        return Watch(
            self.loop, engine or self.engine, ME, self.workshop, self.shutdown, seconds=seconds
        )

    def book(self, **spec: object) -> None:
        with transaction(self.engine) as connection:
            book_job(connection, **spec)  # type: ignore[arg-type]


ME = Worker("me", "here", 1, ["cpu"], ["default"])


@pytest.fixture
def scene(engine: Engine, settings: Settings) -> Scene:
    shutdown = Shutdown(10)
    workshop = Workshop(
        settings, engine, ME, shutdown, pass_on=lambda _: None, hand_over=lambda _: None
    )
    return Scene(engine, settings, workshop, shutdown, Loop(make_celery(settings.broker)))


def test_a_job_that_waits_for_a_free_slot_is_reason_enough(scene: Scene) -> None:
    watch = scene.watch()
    watch.look()
    assert not scene.loop.called
    scene.book()
    watch.look()
    ((renew, arguments),) = scene.loop.called
    with pytest.raises(ConsumerSilent):
        renew(*arguments)
    # A connection that Celery itself has replaced meanwhile is not renewed once more.
    scene.loop.connection = object()
    renew(*arguments)


def test_jobs_that_this_worker_cannot_take_now_are_none(scene: Scene) -> None:
    watch = scene.watch()
    scene.book(device="cuda")
    scene.book(queue="other")
    watch.look()
    assert not scene.loop.called
    scene.book()
    assert scene.workshop._take_slot(())
    assert not scene.workshop.free_devices
    watch.look()
    assert not scene.loop.called


def test_a_worker_that_leaves_renews_nothing(scene: Scene) -> None:
    scene.book()
    scene.shutdown.begin()
    scene.watch().look()
    assert not scene.loop.called


def test_a_ticket_that_came_or_a_renewal_begins_the_time_anew(scene: Scene) -> None:
    scene.book()
    watch = scene.watch(LONG_SECONDS / 2)
    watch._waiting_since = time.monotonic() - LONG_SECONDS
    scene.workshop.work("other")
    watch.look()
    assert not scene.loop.called
    scene.workshop._ticket_at -= LONG_SECONDS
    watch.look()
    watch.look()
    assert len(scene.loop.called) == 1
    watch._renewed_at -= LONG_SECONDS
    watch.look()
    assert len(scene.loop.called) == 2


def test_while_the_database_is_away_no_job_is_known_to_wait(scene: Scene) -> None:
    scene.book()
    away = DatabaseSettings(url=SecretStr(f"postgresql://nobody@127.0.0.1:{free_port()}/none"))
    nowhere = make_engine(away, application_name="gradbook tests")
    watch = scene.watch(LONG_SECONDS / 2, nowhere)
    watch._waiting_since = time.monotonic() - LONG_SECONDS
    scene.workshop._ticket_at -= LONG_SECONDS
    with pytest.raises(sqlalchemy.exc.OperationalError):
        watch.look()
    # It is back, and the time begins anew.
    watch._engine = scene.engine
    watch.look()
    assert not scene.loop.called


def test_an_old_connection_is_kept_where_a_new_one_would_not_work_either(scene: Scene) -> None:
    scene.book()
    url = SecretStr(f"redis://127.0.0.1:{free_port()}/0")
    scene.loop.app = make_celery(BrokerSettings(url=url))
    with pytest.raises(kombu.exceptions.OperationalError):
        scene.watch().look()
    assert not scene.loop.called
    scene.loop.connection = None
    scene.loop.app = make_celery(scene.settings.broker)
    scene.watch().look()
    assert not scene.loop.called
