"""Real services for the tests: PostgreSQL 18 and 16 and a Valkey, out of the wheels.

Every test that asks for a database gets one of its own, copied from a migrated template. Where
GRADBOOK_TEST_POSTGRES_URL and GRADBOOK_TEST_BROKER_URL name running servers, those are used.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from pydantic import SecretStr
from sqlalchemy import URL, Connection, Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from cli.stack.postgres import EmbeddedPostgres
from cli.stack.valkey import EmbeddedValkey
from foundation.settings import BrokerSettings, DatabaseSettings, Settings
from migrations.run import migrate
from services.database import make_engine, transaction
from tests.versions import NEWEST, OLDEST, leaves_out_oldest

TEMPLATE = "gradbook_template"
GIVEN_POSTGRES = os.environ.get("GRADBOOK_TEST_POSTGRES_URL")
GIVEN_BROKER = os.environ.get("GRADBOOK_TEST_BROKER_URL")


def pytest_configure() -> None:
    # No setting of the person who runs the tests may leak into what is tested.
    for name in [name for name in os.environ if name.startswith("GRADBOOK_")]:
        if not name.startswith("GRADBOOK_TEST_"):
            del os.environ[name]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if leaves_out_oldest(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _admin(url: URL) -> Engine:
    return create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)


def _make_template(url: URL, name: str) -> None:
    admin = _admin(url)
    with admin.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    admin.dispose()
    engine = create_engine(url.set(database=name))
    migrate(engine)
    engine.dispose()


@pytest.fixture(scope="session", params=["given"] if GIVEN_POSTGRES else [NEWEST, OLDEST])
def postgres(request: pytest.FixtureRequest) -> Iterator[tuple[URL, str]]:
    """A server with a migrated template: its administrator's URL and the template's name."""
    if GIVEN_POSTGRES:
        url = make_url(GIVEN_POSTGRES).set(drivername="postgresql+psycopg")
        template = f"{TEMPLATE}_{uuid4().hex}"
        _make_template(url, template)
        yield url, template
        with _admin(url).connect() as connection:
            connection.execute(text(f'DROP DATABASE "{template}"'))
        return
    with tempfile.TemporaryDirectory(prefix="gradbook-test-") as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres", version=request.param)
        server.start()
        try:
            url = make_url(server.url).set(drivername="postgresql+psycopg")
            _make_template(url, TEMPLATE)
            yield url, TEMPLATE
        finally:
            server.stop()


@pytest.fixture(scope="session")
def broker_server() -> Iterator[str]:
    """A Valkey; in one that was given, a database number that others are unlikely to use."""
    if GIVEN_BROKER:
        yield f"{GIVEN_BROKER.rsplit('/', 1)[0]}/{1 + os.getpid() % 15}"
        return
    with tempfile.TemporaryDirectory(prefix="gradbook-test-") as folder:
        server = EmbeddedValkey(Path(folder) / "valkey")
        server.start()
        try:
            yield server.url
        finally:
            server.stop()


@pytest.fixture
def database_url(postgres: tuple[URL, str]) -> Iterator[str]:
    """A migrated database of this test's own."""
    url, template = postgres
    name = f"test_{uuid4().hex}"
    admin = _admin(url)
    with admin.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
    yield url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    admin.dispose()


@pytest.fixture
def broker_url(broker_server: str) -> str:
    """An empty broker."""
    with redis.Redis.from_url(broker_server) as client:
        client.flushdb()
    return broker_server


@pytest.fixture
def settings(database_url: str, broker_url: str, tmp_path: Path) -> Settings:
    """Settings of a whole service: this test's database, an empty broker, an empty home."""
    return Settings(
        home=tmp_path / "home",
        database=DatabaseSettings(url=SecretStr(database_url)),
        broker=BrokerSettings(url=SecretStr(broker_url)),
    )


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = make_engine(
        DatabaseSettings(url=SecretStr(database_url)), application_name="gradbook tests"
    )
    yield made
    made.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that is committed when the test is over."""
    with transaction(engine) as made:
        yield made
