"""An errand at the database: from its beginning to its end in one thread, for one turn."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, Engine, text

from api import connections
from api.connections import Connections, DatabaseSilent
from services.database import transaction
from tests.versions import on_newest_postgres

pytestmark = on_newest_postgres

SOON = 10.0
TOUCH = text(
    "INSERT INTO workers (name, host, pid, slots, devices, queues)"
    " VALUES (:name, 'h', 1, 1, '[]', '{}')"
)


def touch(connection: Connection, name: str = "w") -> str:
    connection.execute(TOUCH, {"name": name})
    return name


def names(engine: Engine) -> list[str]:
    with transaction(engine) as connection:
        return list(connection.scalars(text("SELECT name FROM workers ORDER BY name")))


def test_what_was_written_is_committed_and_what_raises_is_not(engine: Engine) -> None:
    def fail(connection: Connection) -> None:
        touch(connection, "failed")
        raise ZeroDivisionError

    async def both() -> str:
        made = Connections(engine, turns=1)
        with pytest.raises(ZeroDivisionError):
            await made.write(fail)
        return await made.write(touch)

    assert asyncio.run(both()) == "w"
    assert names(engine) == ["w"]


def test_a_read_sees_one_moment_and_writes_nothing(engine: Engine) -> None:
    count = text("SELECT count(*) FROM workers")

    def look(connection: Connection) -> tuple[int, int]:
        before = connection.execute(count).scalar_one()
        with transaction(engine) as other:
            touch(other)
        return before, connection.execute(count).scalar_one()

    async def read() -> tuple[int, int]:
        return await Connections(engine, turns=1).read(look)

    assert asyncio.run(read()) == (0, 0)
    assert names(engine) == ["w"]


def test_who_gives_up_keeps_the_turn_until_what_has_begun_has_ended(engine: Engine) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slowly(connection: Connection) -> None:
        begun.set()
        assert go_on.wait(SOON)
        touch(connection, "slow")

    async def give_up() -> None:
        made = Connections(engine, turns=1)
        first = asyncio.create_task(made.write(slowly))
        await asyncio.to_thread(begun.wait, SOON)
        first.cancel()
        second = asyncio.create_task(made.write(touch))
        done, _ = await asyncio.wait({first, second}, timeout=0.05)
        assert not done
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        await second

    asyncio.run(give_up())
    assert names(engine) == ["slow", "w"]


def test_a_database_that_says_nothing_is_given_up_and_what_opens_late_does_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, ended = threading.Event(), threading.Event()

    @contextmanager
    def late(engine: Engine) -> Iterator[Connection]:
        assert go_on.wait(SOON)
        try:
            with transaction(engine) as connection:
                yield connection
        finally:
            ended.set()

    monkeypatch.setattr(connections, "OPENING_SECONDS", 0.05)
    monkeypatch.setattr(connections, "transaction", late)

    async def give_up() -> None:
        with pytest.raises(DatabaseSilent):
            await Connections(engine, turns=1).write(touch)
        go_on.set()

    asyncio.run(give_up())
    assert ended.wait(SOON)
    assert names(engine) == []
