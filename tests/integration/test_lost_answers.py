"""A commit whose answer was lost: the book tells its fate, whatever has happened since."""

import os
import signal
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from cli.stack.postgres import EmbeddedPostgres
from foundation.settings import DatabaseSettings
from migrations.run import migrate
from models.domain.lifecycle import Outcome, StopReason
from services.claims import Slot, claim
from services.database import make_engine, transaction
from services.endings import Ending, end_attempt
from services.pages import Page
from services.reaping import reap
from services.recording import Answer, Owner, committed, flush
from tests.bookings import book_job
from tests.integration.owned import LEASE_SECONDS, write
from tests.pretenders import make_rows
from tests.versions import on_newest_postgres
from tests.waiting import wait_until

SUCCESS = Ending(Outcome.SUCCEEDED, StopReason.EPOCHS, exit_code=0)


def _undone(engine: Engine, owner: Owner) -> Answer:
    with engine.connect() as connection:
        answer = flush(connection, owner, Page(rows=make_rows(1, 1)))
        connection.rollback()
    return answer


def _is_committed(engine: Engine, owner: Owner, answer: Answer) -> bool:
    with transaction(engine) as connection:
        return committed(connection, owner, answer.number)


def _claim(engine: Engine, *, books: bool = False) -> Owner:
    with transaction(engine) as connection:
        if books:
            book_job(connection)
        taken = claim(connection, "default", Slot("w", "h", 0, "cpu"), LEASE_SECONDS)
    assert taken is not None
    return Owner(taken.job_key, taken.attempt, LEASE_SECONDS)


def test_a_flush_that_was_committed_is_told_from_one_that_was_not(
    engine: Engine, owner: Owner
) -> None:
    assert _is_committed(engine, owner, write(engine, owner, Page()))
    assert not _is_committed(engine, owner, _undone(engine, owner))


def test_an_ending_that_was_committed_is_known_when_nobody_owns_the_job(
    engine: Engine, owner: Owner
) -> None:
    with transaction(engine) as connection:
        answer = end_attempt(connection, owner, Page(), SUCCESS)
    assert _is_committed(engine, owner, answer)


def test_what_another_attempt_has_flushed_since_is_not_taken_for_the_lost_one(
    engine: Engine, owner: Owner
) -> None:
    undone = _undone(engine, owner)
    with transaction(engine) as connection:
        connection.execute(text("UPDATE progress SET lease_until = clock_timestamp()"))
    with transaction(engine) as connection:
        assert reap(connection, owner.job_key) is not None
        connection.execute(text("UPDATE jobs SET not_before = NULL"))
    assert not _is_committed(engine, owner, undone)
    successor = _claim(engine)
    assert write(engine, successor, Page()).number == undone.number
    assert not _is_committed(engine, owner, undone)


@on_newest_postgres
@pytest.mark.usefixtures("postgres")
def test_a_server_that_crashed_does_not_take_another_transaction_for_the_lost_one(
    tmp_path: Path,
) -> None:
    server = EmbeddedPostgres(tmp_path / "pg")
    with server:
        engine = _engine(server)
        migrate(engine)
        owner = _claim(engine, books=True)
        with transaction(engine) as connection:
            connection.execute(text("CREATE TABLE others (n INT)"))
        with engine.connect() as connection:
            undone = flush(connection, owner, Page(rows=make_rows(1, 1)))
            number = connection.scalar(text("SELECT CAST(pg_current_xact_id() AS text)"))
            assert server.pid is not None
            os.kill(server.pid, signal.SIGQUIT)
            wait_until(lambda: not server.alive, 10, "the server is gone")
            connection.invalidate()
        engine.dispose()
        server.start()
        engine = _engine(server)
        with transaction(engine) as connection:
            connection.execute(text("INSERT INTO others VALUES (1)"))
        with transaction(engine) as connection:
            status = text("SELECT pg_xact_status(CAST(:number AS xid8))")
            # What makes this a test: to the server it is another transaction now.
            assert connection.scalar(status, {"number": number}) == "committed"
        assert not _is_committed(engine, owner, undone)
        engine.dispose()


def _engine(server: EmbeddedPostgres) -> Engine:
    return make_engine(DatabaseSettings(url=SecretStr(server.url)), application_name="tests")
