"""Waiting for a job to change: one look at the database for all who wait, none while nobody does.

A client that waits holds neither a thread nor a connection, only a future.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from fastapi.concurrency import run_in_threadpool
from sqlalchemy import exc as database_errors

from api.connections import Connections, DatabaseSilent, Overloaded
from api.leaving import Leaving
from services.standing import Standing, standings

LOOK_SECONDS = 0.2
CLOSE_SECONDS = 1.0


class _Waiter(NamedTuple):
    job_id: UUID
    seen: Standing
    told: asyncio.Future[None]


class Lookout:
    """Tells those who wait for a job when its state or epoch is another, or the job is gone.

    Args:
        connections: of this process; each look takes a turn among them.
        leaving: ends every wait once the process is told to leave.

    """

    def __init__(self, connections: Connections, leaving: Leaving) -> None:
        self._connections, self._leaving = connections, leaving
        self._waiters: set[_Waiter] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many wait right now."""
        return len(self._waiters)

    async def changed(self, job_id: UUID, seen: Standing, seconds: float) -> None:
        """Return once the job stands otherwise than was seen, or after so many seconds.

        Or at once where the process is told to leave.
        """
        waiter = _Waiter(job_id, seen, asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look_on())
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(waiter.told, seconds)
        finally:
            self._waiters.discard(waiter)

    async def close(self) -> None:
        """Await the end of a look that is under way; call it once the process is told to leave."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=CLOSE_SECONDS)

    async def _look_on(self) -> None:
        while self._waiters:
            if await self._leaving.within(LOOK_SECONDS):
                _tell(self._waiters)
                return
            # Away or crowded: those who wait go on waiting until their own time is over.
            with contextlib.suppress(database_errors.SQLAlchemyError, DatabaseSilent, Overloaded):
                await self._look()

    async def _look(self) -> None:
        waiters = list(self._waiters)
        async with self._connections.snapshot() as connection:
            ids = list({waiter.job_id for waiter in waiters})
            now = await run_in_threadpool(standings, connection, ids)
        _tell(waiter for waiter in waiters if now.get(waiter.job_id) != waiter.seen)


def _tell(waiters: Iterable[_Waiter]) -> None:
    for waiter in waiters:
        if not waiter.told.done():
            waiter.told.set_result(None)
