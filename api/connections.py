"""Turns at the database, so that no thread ever waits for a connection.

A request's connection, its route and its commit run in the threadpool one after the other.
If threads waited for connections they could take all of the pool while those who hold the
connections find no thread to go on with. So a request first takes one of as many turns as
there are connections, on the event loop, and then finds a connection free.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Generic, TypeVar

import anyio
import anyio.to_thread
from sqlalchemy import Connection, Engine

from models.domain.errors import GradbookError
from services.database import snapshot, transaction

Result = TypeVar("Result")
Work = Callable[[Connection], Result]

PATIENCE_SECONDS = 5.0
OPENING_SECONDS = 4.0


class Overloaded(GradbookError):
    """No turn at the database came up in time."""

    def __init__(self, patience_seconds: float) -> None:
        super().__init__(f"no database connection became free within {patience_seconds:g} s")


class DatabaseSilent(GradbookError):
    """The database takes connections and says nothing: it was stopped, or cut off."""

    def __init__(self) -> None:
        super().__init__(f"the database did not answer within {OPENING_SECONDS:g} s")


class Connections:
    """One process's connections; built inside the event loop that uses it.

    Args:
        engine: keeps at most `turns` connections.
        turns: how many may be in use at once.
        patience_seconds: how long to wait for a turn.

    """

    def __init__(
        self, engine: Engine, turns: int, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self.engine = engine
        self._patience_seconds = patience_seconds
        self._turns = anyio.CapacityLimiter(turns)
        # Ending a transaction must never wait for those who begin one.
        self._exits = anyio.CapacityLimiter(turns)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Read and write; committed at the end, rolled back where it raises."""
        async with self._turn(), self._opened(transaction(self.engine)) as connection:
            yield connection

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """Read only, and all reads see the same moment."""
        async with self._turn(), self._opened(snapshot(self.engine)) as connection:
            yield connection

    async def write(self, work: Work[Result]) -> Result:
        """Run a whole transaction in one thread: committed by the time this returns.

        Each way from the event loop into a thread and back costs as much as a statement, so what
        needs nothing else between its beginning and its commit is done in one.
        """
        async with self._turn():
            return await _Errand(transaction(self.engine), work).run()

    async def read(self, work: Work[Result]) -> Result:
        """The same for a snapshot."""
        async with self._turn():
            return await _Errand(snapshot(self.engine), work).run()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        # A borrower of its own: one request may take two turns, one after the other.
        borrower = object()
        try:
            with anyio.fail_after(self._patience_seconds):
                await self._turns.acquire_on_behalf_of(borrower)
        except TimeoutError:
            raise Overloaded(self._patience_seconds) from None
        try:
            yield
        finally:
            self._turns.release_on_behalf_of(borrower)

    @asynccontextmanager
    async def _opened(
        self, context: AbstractContextManager[Connection]
    ) -> AsyncIterator[Connection]:
        connection = await _Opening(context).wait()
        try:
            yield connection
        except BaseException as error:
            await self._in_exit(context, error)
            raise
        else:
            await self._in_exit(context, None)

    async def _in_exit(
        self, context: AbstractContextManager[Connection], error: BaseException | None
    ) -> None:
        kind, trace = (type(error), error.__traceback__) if error else (None, None)
        await _surely(lambda: context.__exit__(kind, error, trace), self._exits)


async def _surely(act: Callable[[], object], limiter: anyio.CapacityLimiter | None = None) -> None:
    """Do it in a thread, whatever becomes of the one who waits for it."""
    begun = threading.Lock()

    def once() -> None:
        if begun.acquire(blocking=False):
            act()

    try:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(once, limiter=limiter)
    except anyio.get_cancelled_exc_class():
        # A task of a loop that ends is cancelled in spite of the shield, and what no thread has
        # begun by then none will begin.
        once()
        raise


class _Opening:
    """Opens a connection in a thread, which is left behind where the database hangs."""

    def __init__(self, context: AbstractContextManager[Connection]) -> None:
        self._context = context
        self._settled = threading.Lock()
        self._connection: Connection | None = None
        self._given_up = False

    async def wait(self) -> Connection:
        try:
            with anyio.fail_after(OPENING_SECONDS):
                return await anyio.to_thread.run_sync(self._open, abandon_on_cancel=True)
        except TimeoutError:
            await self._give_up()
            raise DatabaseSilent from None
        except anyio.get_cancelled_exc_class():
            await self._give_up()
            raise

    def _open(self) -> Connection:
        connection = self._context.__enter__()
        with self._settled:
            self._connection = connection
            late = self._given_up
        if late:
            self._context.__exit__(None, None, None)
        return connection

    async def _give_up(self) -> None:
        """What is open by now is closed here, what opens later by its own thread."""
        with self._settled:
            self._given_up = True
            in_time = self._connection is not None
        if in_time:
            await _surely(lambda: self._context.__exit__(None, None, None))


class _Errand(Generic[Result]):
    """Opens, works and ends in one thread, which is left behind where the opening hangs."""

    def __init__(self, context: AbstractContextManager[Connection], work: Work[Result]) -> None:
        self._context, self._work = context, work
        self._settled = threading.Lock()
        self._opened = self._given_up = False

    async def run(self) -> Result:
        thread = asyncio.ensure_future(anyio.to_thread.run_sync(self._act, abandon_on_cancel=True))
        try:
            done, _ = await asyncio.wait({thread}, timeout=OPENING_SECONDS)
            if not done:
                if self._give_up():
                    raise DatabaseSilent
                await asyncio.wait({thread})
        except asyncio.CancelledError:
            if not self._give_up():
                # What has begun ends before its turn is another's.
                with anyio.CancelScope(shield=True):
                    await asyncio.wait({thread})
            raise
        finally:
            thread.cancel()
        return thread.result()

    def _act(self) -> Result:
        with self._context as connection:
            with self._settled:
                self._opened = True
                if self._given_up:
                    raise DatabaseSilent
            return self._work(connection)

    def _give_up(self) -> bool:
        """Whether nothing was begun, and nothing will be."""
        with self._settled:
            self._given_up = not self._opened
            return self._given_up
