"""Database and broker away, hanging and back: what a POST gets meanwhile."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from celery import Celery
from psycopg.errors import IdleInTransactionSessionTimeout
from pydantic import SecretStr
from sqlalchemy.exc import InternalError

from api.main import create_app
from cli.stack.postgres import EmbeddedPostgres
from cli.stack.valkey import EmbeddedValkey
from foundation.settings import BrokerSettings, DatabaseSettings, Settings
from migrations.run import migrate
from services.broker import make_celery, tickets_waiting
from services.database import make_engine
from tests.integration.test_api_bad_input import is_problem
from tests.processes import free_port
from tests.serving import serving
from tests.submitted import get, spec_of, submit
from tests.versions import on_newest_postgres
from tests.waiting import wait_until

pytestmark = on_newest_postgres

# A POST that waited for the broker would take its time-out; one that does not is done long before,
# on a machine that has other things to do as well.
BROKER_SECONDS = 10.0
IN_TIME_SECONDS = 4.0
QUICKLY_SECONDS = 6.0


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def timed_post(api: httpx.Client) -> tuple[httpx.Response, float]:
    begun = time.monotonic()
    answer = api.post("/v1/jobs", json=spec_of())
    return answer, time.monotonic() - begun


@contextmanager
def valkey(folder: Path) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def with_broker(settings: Settings, url: str) -> Settings:
    broker = BrokerSettings(url=SecretStr(url), timeout_seconds=BROKER_SECONDS)
    return settings.model_copy(update={"broker": broker})


def tickets(app: Celery) -> int:
    return tickets_waiting(app, "default")


def test_a_job_gets_a_ticket_and_a_batch_one_each(api: httpx.Client, settings: Settings) -> None:
    app = make_celery(settings.broker)
    submit(api)
    wait_until(lambda: tickets(app) == 1, 5, "a ticket is published")
    api.post("/v1/jobs/batch", json={"items": [spec_of()] * 3}).raise_for_status()
    wait_until(lambda: tickets(app) == 4, 5, "three more are published")
    app.close()


def test_a_hanging_broker_holds_up_no_post_and_gets_its_tickets_when_it_is_back(
    settings: Settings, tmp_path: Path
) -> None:
    with valkey(tmp_path / "valkey") as server, serving(with_broker(settings, server.url)) as api:
        submit(api)
        assert server.pid is not None
        with stopped([server.pid]):
            for _ in range(5):
                answer, seconds = timed_post(api)
                assert answer.status_code == httpx.codes.CREATED
                assert seconds < IN_TIME_SECONDS
        app = make_celery(BrokerSettings(url=SecretStr(server.url)))
        submit(api)
        wait_until(lambda: tickets(app) >= 2, 20, "tickets are published again")
        app.close()


def test_a_broker_that_was_never_there_holds_up_no_post(settings: Settings) -> None:
    with serving(with_broker(settings, f"redis://127.0.0.1:{free_port()}/0")) as api:
        for _ in range(3):
            answer, seconds = timed_post(api)
            assert answer.status_code == httpx.codes.CREATED
            assert seconds < IN_TIME_SECONDS


def test_a_broker_that_takes_connections_and_says_nothing_holds_up_no_post(
    settings: Settings,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        with serving(with_broker(settings, url)) as api:
            answer, seconds = timed_post(api)
            assert answer.status_code == httpx.codes.CREATED
            assert seconds < IN_TIME_SECONDS


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A migrated PostgreSQL that a test may stop."""
    server = EmbeddedPostgres(tmp_path / "postgres")
    server.start()
    try:
        engine = make_engine(
            DatabaseSettings(url=SecretStr(server.url)), application_name="gradbook tests"
        )
        migrate(engine)
        engine.dispose()
        yield server
    finally:
        server.stop()


def with_database(settings: Settings, server: EmbeddedPostgres) -> Settings:
    database = DatabaseSettings(url=SecretStr(server.url))
    return settings.model_copy(update={"database": database})


def is_away(answer: httpx.Response) -> bool:
    return (
        answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
        and is_problem(answer)
        and int(answer.headers["retry-after"]) >= 1
    )


def test_with_its_database_away_a_post_is_told_to_come_again(
    settings: Settings, own_postgres: EmbeddedPostgres
) -> None:
    with serving(with_database(settings, own_postgres)) as api:
        kept = submit(api)["id"]
        own_postgres.stop()
        for _ in range(3):
            answer, seconds = timed_post(api)
            assert is_away(answer)
            assert "postgres" not in answer.text.lower()
            assert seconds < QUICKLY_SECONDS
        assert is_away(api.get(f"/v1/jobs/{kept}"))
        # What needs no database is answered as ever.
        assert api.post("/v1/jobs", json=spec_of(epochs=0)).status_code == 422
        own_postgres.start()
        assert timed_post(api)[0].status_code == httpx.codes.CREATED
        assert get(api, kept)["state"] == "queued"


def test_a_database_that_only_lets_read_is_away_for_a_post(
    settings: Settings, own_postgres: EmbeddedPostgres
) -> None:
    let_write = "ALTER SYSTEM SET default_transaction_read_only = off"
    with serving(with_database(settings, own_postgres)) as api:
        kept = submit(api)["id"]
        tell(own_postgres, let_write.replace("off", "on"))
        wait_until(lambda: is_away(timed_post(api)[0]), 10, "nobody can write")
        assert timed_post(api)[0].json()["type"] == "/problems/database-away"
        assert get(api, kept)["state"] == "queued"
        tell(own_postgres, let_write)
        wait_until(lambda: timed_post(api)[0].status_code == httpx.codes.CREATED, 10, "it is back")


def tell(server: EmbeddedPostgres, setting: str) -> None:
    """Have the server follow a setting in the sessions that there are, too."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(setting.encode())
        connection.execute("SELECT pg_reload_conf()")


def test_a_session_that_stood_still_for_too_long_is_a_database_that_is_away(
    settings: Settings,
) -> None:
    app = create_app(settings)

    def fail() -> None:
        raise InternalError("SELECT 1", {}, IdleInTransactionSessionTimeout())

    app.add_api_route("/fail", fail)
    with serving(settings, app) as api:
        answer = api.get("/fail")
    assert is_away(answer)
    assert answer.json()["type"] == "/problems/database-away"


def test_an_api_that_starts_without_its_database_serves_once_it_is_there(
    settings: Settings, own_postgres: EmbeddedPostgres
) -> None:
    own_postgres.stop()
    with serving(with_database(settings, own_postgres)) as api:
        assert is_away(timed_post(api)[0])
        own_postgres.start()
        assert timed_post(api)[0].status_code == httpx.codes.CREATED


def test_a_database_that_hangs_is_told_from_one_that_answers(
    settings: Settings, own_postgres: EmbeddedPostgres
) -> None:
    with serving(with_database(settings, own_postgres)) as api:
        submit(api)
        assert own_postgres.pid is not None
        postmaster = psutil.Process(own_postgres.pid)
        pids = [postmaster.pid, *(child.pid for child in postmaster.children())]
        with stopped(pids):
            for _ in range(2):
                answer, seconds = timed_post(api)
                assert is_away(answer)
                assert seconds < QUICKLY_SECONDS
            assert api.get("/healthz").status_code == httpx.codes.OK
        wait_until(lambda: timed_post(api)[0].status_code == httpx.codes.CREATED, 20, "it is back")
