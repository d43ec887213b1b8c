"""Turns at the database, so that no thread ever waits for a connection.

A request's connection, its route and its commit run in the threadpool one after the other.
If threads waited for connections they could take all of the pool while those who hold the
connections find no thread to go on with. So a request first takes one of as many turns as
there are connections, on the event loop, and then finds a connection free.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager

import anyio
from fastapi.concurrency import contextmanager_in_threadpool
from sqlalchemy import Connection, Engine

from models.domain.errors import GradbookError
from services.database import snapshot, transaction

PATIENCE_SECONDS = 5.0


class Overloaded(GradbookError):
    """No turn at the database came up in time."""

    def __init__(self) -> None:
        super().__init__(f"no database connection became free within {PATIENCE_SECONDS:g} s")


class Connections:
    """One process's connections; built inside the event loop that uses it."""

    def __init__(self, engine: Engine, turns: int) -> None:
        self.engine = engine
        self._turns = anyio.CapacityLimiter(turns)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Read and write; committed at the end, rolled back where it raises."""
        async with self._turn(transaction(self.engine)) as connection:
            yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """Read only, and all reads see the same moment."""
        async with self._turn(snapshot(self.engine)) as connection:
            yield connection

    @asynccontextmanager
    async def _turn(self, opened: AbstractContextManager[Connection]) -> AsyncIterator[Connection]:
        # A borrower of its own: one request may take two turns, one after the other.
        borrower = object()
        try:
            with anyio.fail_after(PATIENCE_SECONDS):
                await self._turns.acquire_on_behalf_of(borrower)
        except TimeoutError:
            raise Overloaded from None
        try:
            async with contextmanager_in_threadpool(opened) as connection:
                yield connection
        finally:
            self._turns.release_on_behalf_of(borrower)
