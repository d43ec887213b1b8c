"""A slot's session that the server has ended is found again like one that was lost."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, Engine, text

from foundation.settings import DatabaseSettings
from services.database import make_engine, transaction
from tests.versions import on_newest_postgres
from tests.waiting import wait_until
from worker.line import OUTAGES, Line

pytestmark = on_newest_postgres

IDLE_SECONDS = 0.05


@pytest.fixture
def line(database_url: str) -> Iterator[Line]:
    """A line whose transactions may stand still for a moment only."""
    settings = DatabaseSettings(url=SecretStr(database_url))
    engine = make_engine(settings, application_name="line", idle_timeout_seconds=IDLE_SECONDS)
    made = Line(engine)
    yield made
    made.close()
    engine.dispose()


def _stand_still(connection: Connection, engine: Engine) -> None:
    """Until the server has ended the session."""
    session = connection.scalar(text("SELECT pg_backend_pid()"))
    alive = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :session")

    def is_ended() -> bool:
        with transaction(engine) as other:
            return bool(other.scalar(alive, {"session": session}) == 0)

    wait_until(is_ended, 10, "the session is ended")


def _send(connection: Connection, what: str) -> None:
    if what == "a statement":
        connection.execute(text("SELECT 1"))
    elif what == "COPY":
        with connection.connection.cursor().copy("COPY logs FROM STDIN"):
            pass


@pytest.mark.parametrize("sends", ["a statement", "COPY", "its commit"])
def test_a_session_that_stood_still_for_too_long_is_an_outage(
    line: Line, engine: Engine, sends: str
) -> None:
    with pytest.raises(OUTAGES), line.transaction() as connection:  # noqa: PT012 - its end, too
        _stand_still(connection, engine)
        _send(connection, sends)
    with line.transaction() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    assert line.session == 2


def test_a_mistake_in_a_statement_is_none(line: Line) -> None:
    with pytest.raises(Exception, match="division by zero") as caught, line.transaction() as made:
        made.execute(text("SELECT 1 / 0"))
    assert not isinstance(caught.value, OUTAGES)
