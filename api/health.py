"""Is this process of use? Asked of the database and the broker, in time even where they hang."""

from collections.abc import Callable
from dataclasses import dataclass

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import Engine

from api.probes import Probe
from foundation.settings import Settings
from migrations.run import SchemaBehind, check_schema, current_revision
from models.schemas.catalogue import Readiness
from services.database import make_engine, snapshot
from services.workers_view import count_workers

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
        broker = await _answers(self._broker, BROKER_SECONDS)
        try:
            found = await self._database.answer(DATABASE_SECONDS)
        except Exception:  # noqa: BLE001 - whatever it is, the database is of no use now
            found = _Found(None, behind=True, workers=None)
            return False, _readiness("away", broker=broker, found=found)
        return not found.behind, _readiness("ok", broker=broker, found=found)

    def close(self) -> None:
        self._engine.dispose()
