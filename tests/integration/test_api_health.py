"""Liveness and readiness, with database and broker there, away, and hanging."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from pydantic import SecretStr
from sqlalchemy import Engine, text

from cli.stack.valkey import EmbeddedValkey
from foundation.settings import BrokerSettings, DatabaseSettings, Settings
from migrations.run import newest_revision
from services.database import transaction
from services.fleet import Worker, heartbeat
from tests.processes import free_port
from tests.serving import serving
from tests.versions import on_newest_postgres
from tests.waiting import wait_until

IN_TIME_SECONDS = 1.5


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def readiness(api: httpx.Client) -> httpx.Response:
    begun = time.monotonic()
    answer = api.get("/readyz")
    assert time.monotonic() - begun < IN_TIME_SECONDS
    return answer


def test_a_ready_service_says_what_is_there(api: httpx.Client, engine: Engine) -> None:
    with transaction(engine) as connection:
        heartbeat(connection, Worker("alpha", "h", 1, ["cpu"], ["default"]))
    answer = readiness(api)
    assert answer.status_code == httpx.codes.OK
    assert answer.json() == {
        "database": "ok",
        "broker": "ok",
        "schema": newest_revision(),
        "workers": 1,
    }


def test_a_service_without_a_broker_is_ready(settings: Settings) -> None:
    away = BrokerSettings(url=SecretStr(f"redis://127.0.0.1:{free_port()}/0"))
    with serving(settings.model_copy(update={"broker": away})) as api:
        answer = readiness(api)
    assert answer.status_code == httpx.codes.OK
    assert answer.json()["broker"] == "away"


@on_newest_postgres
def test_a_hanging_broker_is_away_until_it_goes_on(settings: Settings, tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path / "valkey")
    server.start()
    try:
        broker = BrokerSettings(url=SecretStr(server.url))
        with serving(settings.model_copy(update={"broker": broker})) as api:
            assert readiness(api).json()["broker"] == "ok"
            assert server.pid is not None
            with stopped(server.pid):
                wait_until(
                    lambda: readiness(api).json()["broker"] == "away", 10, "the broker is away"
                )
                assert readiness(api).status_code == httpx.codes.OK
            wait_until(lambda: readiness(api).json()["broker"] == "ok", 10, "it is back")
    finally:
        server.stop()


def test_a_service_without_its_database_is_alive_and_not_ready(settings: Settings) -> None:
    away = DatabaseSettings(url=SecretStr(f"postgresql://nobody@127.0.0.1:{free_port()}/none"))
    with serving(settings.model_copy(update={"database": away})) as api:
        answer = readiness(api)
        assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert answer.json()["database"] == "away"
        assert api.get("/healthz").json() == {"status": "ok"}


def test_a_schema_that_is_behind_is_not_ready(api: httpx.Client, engine: Engine) -> None:
    with transaction(engine) as connection:
        connection.execute(text("DELETE FROM alembic_version"))

    def behind() -> bool:
        answer = readiness(api)
        return answer.status_code == httpx.codes.SERVICE_UNAVAILABLE

    wait_until(behind, 10, "readiness notices the schema")
    assert readiness(api).json() == {
        "database": "ok",
        "broker": "ok",
        "schema": None,
        "workers": None,
    }
