"""Is this process of use? Asked of the database and the broker, in time even where they hang."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import Engine

from api.probes import Probe
from foundation.logging import get_logger
from foundation.settings import Settings
from migrations.run import SchemaBehind, check_schema, current_revision
from models.schemas.catalogue import Readiness
from services.database import close_engine, make_engine, snapshot
from services.workers_view import count_workers

log = get_logger("api")

DATABASE_SECONDS = 1.2
BROKER_SECONDS = 1.0
BROKER_SOCKET_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _Found:
    """What the database said of itself."""

    schema: str | None
    behind: bool
    workers: int | None


class Health:
    """Asks on connections of its own, so that a busy service is no sick one."""

    def __init__(self, settings: Settings) -> None:
        alone = settings.database.model_copy(update={"pool_size": 1})
        self._engine = make_engine(
            alone, application_name="gradbook api health", statement_timeout=True
        )
        self._database = Probe(lambda: _look(self._engine))
        self._broker = Probe(_ping(settings))

    async def ready(self) -> tuple[bool, Readiness]:
        """Tell whether jobs can be taken, and what is there and what is away.

        Without a broker they can: they wait in the database.
        """
        found, broker = await asyncio.gather(self._ask_database(), self._ask_broker())
        readiness = Readiness(
            database="away" if found is None else "ok",
            broker="ok" if broker else "away",
            schema_=found and found.schema,
            workers=found and found.workers,
        )
        return found is not None and not found.behind, readiness

    def close(self) -> None:
        close_engine(self._engine)

    async def _ask_database(self) -> "_Found | None":
        try:
            return await self._database.answer(DATABASE_SECONDS)
        except Exception as error:  # noqa: BLE001 - whatever it is, the database is of no use now
            log.warning("health.database_away", error=repr(error)[:500])
            return None

    async def _ask_broker(self) -> bool:
        try:
            return await self._broker.answer(BROKER_SECONDS)
        except Exception as error:  # noqa: BLE001 - whatever it is, the broker is of no use now
            log.warning("health.broker_away", error=repr(error)[:500])
            return False


def _look(engine: Engine) -> _Found:
    with snapshot(engine) as connection:
        schema = current_revision(connection)
    try:
        check_schema(engine)
    except SchemaBehind:
        return _Found(schema, behind=True, workers=None)
    with snapshot(engine) as connection:
        return _Found(schema, behind=False, workers=count_workers(connection))


def _ping(settings: Settings) -> Callable[[], bool]:
    if settings.broker.url is None:
        return lambda: False
    client = redis.Redis.from_url(
        settings.broker.url.get_secret_value(),
        socket_timeout=BROKER_SOCKET_SECONDS,
        socket_connect_timeout=BROKER_SOCKET_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    return lambda: bool(client.ping())
