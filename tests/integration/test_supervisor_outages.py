"""A supervisor whose database goes away: nothing lost, nothing twice, and the wait is told."""

import os
import signal
import time

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from foundation.settings import DatabaseSettings, Settings
from services.closing import loss_sha256
from services.database import make_engine, transaction
from tests.bookings import events_of, job_of
from tests.integration.supervised import SOON, attempt, only_attempt
from tests.severed import severed_way
from tests.versions import on_newest_postgres
from tests.waiting import wait_until

pytestmark = on_newest_postgres


def test_how_long_a_job_waited_for_the_database_is_in_its_book(
    engine: Engine, settings: Settings, database_url: str
) -> None:
    """The way to it is shut for a while; training goes on meanwhile, and no row is missing."""
    with severed_way(database_url) as way:
        theirs = make_engine(DatabaseSettings(url=SecretStr(way.url)), application_name="severed")
        with attempt(theirs, settings, "steady", epochs=30, pause_seconds=0.01) as run:
            wait_until(lambda: job_of(engine, run.key).rows >= 20, SOON, "rows")
            started = time.monotonic()
            way.shut()
            wait_until(lambda: time.monotonic() - started > 2, 5, "an outage of two seconds")
            before = job_of(engine, run.key).rows
            way.open()
            job = run.wait()
        theirs.dispose()
    assert (job.state, job.rows) == ("succeeded", 300)
    assert before < 300
    found = only_attempt(engine, run.key)
    assert 1.5 < found.waited_seconds < 20
    (warning,) = [event for event in events_of(engine, run.key) if event.type == "warning"]
    assert warning.data["message"] == "the database was away"
    assert warning.data["seconds"] == pytest.approx(found.waited_seconds, abs=0.5)


def test_a_database_that_goes_away_for_a_moment_loses_no_row(
    engine: Engine, settings: Settings
) -> None:
    others = text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with attempt(engine, settings, "steady", epochs=30, pause_seconds=0.005) as run:
        for rows in (10, 60, 110):
            run.wait_for_rows(rows)
            with transaction(engine) as connection:
                connection.execute(others)
        job = run.wait()
    assert (job.state, job.rows) == ("succeeded", 300)
    with transaction(engine) as connection:
        assert loss_sha256(connection, run.key) == job.loss_sha256
    found = only_attempt(engine, run.key)
    assert found.outcome == "succeeded"


def test_a_server_that_only_lets_read_for_a_while_fails_no_job(
    engine: Engine, settings: Settings, database_url: str
) -> None:
    """As a standby does that a failover has led to: the sessions end, and new ones can't write."""
    theirs = make_engine(DatabaseSettings(url=SecretStr(database_url)), application_name="theirs")
    with attempt(theirs, settings, "steady", epochs=30, pause_seconds=0.01, max_attempts=1) as run:
        run.wait_for_rows(20)
        _let_write(engine, "off")
        started = time.monotonic()
        wait_until(lambda: time.monotonic() - started > 2, 5, "two seconds in which none can write")
        before = job_of(engine, run.key)
        _let_write(engine, "on")
        job = run.wait()
    theirs.dispose()
    assert (before.state, before.failures) == ("running", 0)
    assert before.rows < 300
    assert (job.state, job.failures, job.rows) == ("succeeded", 0, 300)
    found = only_attempt(engine, run.key)
    assert 1.5 < found.waited_seconds < 20
    with transaction(engine) as connection:
        assert loss_sha256(connection, run.key) == job.loss_sha256


def _let_write(engine: Engine, value: str) -> None:
    """Let new sessions of this database write, or not; end those that were let do otherwise."""
    read_only = {"on": "off", "off": "on"}[value]
    with transaction(engine) as connection:
        connection.execute(text("SET TRANSACTION READ WRITE"))
        name = connection.scalar(text("SELECT current_database()"))
        connection.execute(
            text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {read_only}')
        )
    with transaction(engine) as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'theirs'"
            )
        )


def test_a_commit_whose_answer_is_lost_is_not_made_twice(
    engine: Engine, settings: Settings, database_url: str
) -> None:
    with severed_way(database_url) as way:
        theirs = make_engine(DatabaseSettings(url=SecretStr(way.url)), application_name="severed")
        with attempt(theirs, settings, "steady", epochs=20, pause_seconds=0.01) as run:
            for lost, rows in ((1, 5), (2, 60), (3, 120)):
                wait_until(lambda rows=rows: job_of(engine, run.key).rows >= rows, SOON, "rows")  # type: ignore[misc]
                way.lose_the_next_commit()
                wait_until(lambda lost=lost: way.lost == lost, SOON, "a lost commit")  # type: ignore[misc]
            job = run.wait()
        theirs.dispose()
    assert (job.state, job.rows) == ("succeeded", 200)
    with transaction(engine) as connection:
        assert loss_sha256(connection, run.key) == job.loss_sha256
    events = events_of(engine, run.key)
    assert [event.id for event in events] == list(range(1, len(events) + 1))


def test_the_end_is_not_written_twice_where_its_answer_is_lost(
    engine: Engine, settings: Settings, database_url: str
) -> None:
    with severed_way(database_url) as way:
        theirs = make_engine(DatabaseSettings(url=SecretStr(way.url)), application_name="severed")
        with attempt(theirs, settings, "deaf_at_load") as run:
            os.kill(run.pid, signal.SIGKILL)
            way.lose_the_next_commit()
            job = run.wait()
            assert way.lost == 1
        theirs.dispose()
    assert (job.state, job.failures) == ("queued", 1)
    assert [event.type for event in events_of(engine, run.key)].count("state") == 3
