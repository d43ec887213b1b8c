"""The ear of a process: one session that LISTENs, found again where it is lost."""

import asyncio
import random
from collections.abc import Callable, Collection
from uuid import UUID

import psycopg
from psycopg import AsyncConnection, sql

from foundation.logging import get_logger
from services.hints import CHANNEL, heard

log = get_logger("api")

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
CONNECT_SECONDS = 5
SILENCE_SECONDS = 10
"""After it the kernel asks whether the other side is still there."""


class Ear:
    """Hears which jobs have changed.

    Args:
        url: of the database, past a pooler.
        hear: called in the event loop with the jobs of a hint.
        missed: called when hints may have been missed.

    """

    def __init__(
        self, url: str, hear: Callable[[Collection[UUID]], None], missed: Callable[[], None]
    ) -> None:
        self._url, self._hear, self._missed = url, hear, missed
        self._pause = FIRST_PAUSE_SECONDS

    async def listen(self) -> None:
        """Hear hints until this is cancelled, whatever becomes of the database."""
        while True:
            try:
                await self._listen_once()
            except (psycopg.Error, OSError) as error:
                if self._pause == FIRST_PAUSE_SECONDS:
                    log.warning("hints.unheard", reason=str(error)[:500])
            except Exception:  # a task's edge: deaf is worse than any fault of one hint
                log.exception("ear.failed")
            await asyncio.sleep(self._pause * (0.5 + random.random() / 2))  # noqa: S311 - no secret
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)

    async def _listen_once(self) -> None:
        connection = await AsyncConnection.connect(
            self._url,
            autocommit=True,
            application_name="gradbook api ear",
            connect_timeout=CONNECT_SECONDS,
            keepalives_idle=SILENCE_SECONDS,
            keepalives_interval=SILENCE_SECONDS,
            keepalives_count=2,
        )
        async with connection:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
            self._pause = FIRST_PAUSE_SECONDS
            self._missed()
            async for hint in connection.notifies():
                self._hear(heard(hint.payload))
