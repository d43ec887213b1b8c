"""What is closed leaves no session behind, whoever holds a connection just then."""

import asyncio
import threading

import anyio.to_thread
import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, Engine, text

from api.connections import Connections
from foundation.settings import DatabaseSettings
from services.database import close_engine, make_engine, transaction
from services.session_locks import Work, held
from tests.versions import on_newest_postgres
from tests.waiting import wait_until

pytestmark = on_newest_postgres

NAME = "to be closed"
_SESSIONS = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = :name")


def _sessions(engine: Engine) -> int:
    with transaction(engine) as other:
        return other.scalar(_SESSIONS, {"name": NAME}) or 0


def test_what_is_given_back_after_the_end_is_closed_too(database_url: str, engine: Engine) -> None:
    settings = DatabaseSettings(url=SecretStr(database_url))
    closed = make_engine(settings, application_name=NAME)
    held: list[Connection] = [closed.connect() for _ in range(3)]
    for connection in held:
        connection.execute(text("SELECT 1"))
    held.pop().close()
    close_engine(closed)
    wait_until(lambda: _sessions(engine) == 2, 10, "what lay in the pool is closed")
    # A thread that was about to take a connection still gets one.
    held.append(closed.connect())
    for connection in held:
        connection.close()
    wait_until(lambda: _sessions(engine) == 0, 10, "what was held is closed")
    # The sessions ended because they were closed, not because the connections were collected.
    assert len(held) == 3


def test_a_transaction_ends_though_the_loop_does(engine: Engine) -> None:
    async def main() -> None:
        connections = Connections(engine, turns=1)
        # No thread is free for the end of the transaction: it is asked for and not begun.
        connections._exits = anyio.CapacityLimiter(1)
        free, taken = threading.Event(), threading.Event()

        def take() -> None:
            taken.set()
            free.wait(30)

        async def read() -> None:
            async with connections.snapshot():
                asked.set()

        asked = asyncio.Event()
        taking = asyncio.create_task(anyio.to_thread.run_sync(take, limiter=connections._exits))
        reading = asyncio.create_task(read())
        await asyncio.to_thread(taken.wait, 30)
        await asked.wait()
        reading.cancel()
        await asyncio.wait([reading])
        assert reading.cancelled()
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        free.set()
        await taking

    asyncio.run(main())


def test_work_that_fails_is_let_go_though_its_session_lives_on(engine: Engine) -> None:
    def fail(connection: Connection, beside: Connection) -> None:
        with held(connection, Work.ARCHIVE, 7) as mine:
            with held(beside, Work.ARCHIVE, 7) as theirs, held(beside, Work.SALVAGE, 7) as another:
                assert (mine, theirs, another) == (True, False, True)
            raise RuntimeError

    with engine.connect() as one, engine.connect() as other:
        with pytest.raises(RuntimeError):
            fail(one, other)
        with held(other, Work.ARCHIVE, 7) as theirs:
            assert theirs
