"""Real services for the tests: PostgreSQL 18 and 16 and a Valkey, out of the wheels.

Every test that asks for a database gets one of its own, copied from a migrated template. Where
GRADBOOK_TEST_POSTGRES_URL and GRADBOOK_TEST_BROKER_URL name running servers, those are used.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from pydantic import SecretStr
from sqlalchemy import URL, Connection, Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from cli.stack.binaries import PostgresVersion
from cli.stack.postgres import EmbeddedPostgres
from cli.stack.valkey import EmbeddedValkey
from foundation.settings import BrokerSettings, DatabaseSettings, Settings
from migrations.run import migrate
from services.database import make_engine, transaction
from tests.installed import install_example
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


# The log of what is written is kept short, as it may lie in memory.
_WITHOUT_DISK = (
    "fsync = off",
    "full_page_writes = off",
    "min_wal_size = '32MB'",
    "max_wal_size = '128MB'",
)
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a new folder in it, with a name that nobody guesses
MEMORY_BYTES = 4 * 2**30
"""What must be free of it. A server takes some 200 MB, and a process of tests has two."""


def _quick_place() -> Path | None:
    """Memory, where there is enough of it, else the usual place.

    A new database is 300 files: 0.03 s there, and half a second on a disk that is busy.
    """
    try:
        enough = shutil.disk_usage(SHARED_MEMORY).free >= MEMORY_BYTES
    except OSError:
        return None
    return SHARED_MEMORY if enough else None


def _forget_the_disk(url: URL) -> None:
    """Wait for no disk: a database made and dropped for each test does little else.

    What a server that is killed has written outlives it all the same; only the machine may not
    go down. The servers that tests of the embedded stack start are as everybody's.
    """
    admin = _admin(url)
    with admin.connect() as connection:
        for setting in _WITHOUT_DISK:
            connection.execute(text(f"ALTER SYSTEM SET {setting}"))
        connection.execute(text("SELECT pg_reload_conf()"))
    admin.dispose()


Prepared = tuple[URL, str]
"""A server with a migrated template: its administrator's URL and the template's name."""


@contextlib.contextmanager
def _given(given: str) -> Iterator[Prepared]:
    url = make_url(given).set(drivername="postgresql+psycopg")
    template = f"{TEMPLATE}_{uuid4().hex}"
    _make_template(url, template)
    yield url, template
    with _admin(url).connect() as connection:
        connection.execute(text(f'DROP DATABASE "{template}"'))


@contextlib.contextmanager
def _embedded(version: PostgresVersion) -> Iterator[Prepared]:
    with tempfile.TemporaryDirectory(prefix="gradbook-test-", dir=_quick_place()) as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres", version=version)
        server.start()
        try:
            url = make_url(server.url).set(drivername="postgresql+psycopg")
            _forget_the_disk(url)
            _make_template(url, TEMPLATE)
            yield url, TEMPLATE
        finally:
            server.stop()


@pytest.fixture(scope="session")
def postgres_servers() -> Iterator[Callable[[PostgresVersion | None], Prepared]]:
    """Servers by version (None: the one that was given), each started when it is first asked for.

    They stay up: a file of tests goes from one to the other and back.
    """
    with contextlib.ExitStack() as running:
        ready: dict[PostgresVersion | None, Prepared] = {}

        def server(version: PostgresVersion | None) -> Prepared:
            if version not in ready:
                made = _embedded(version) if version else _given(GIVEN_POSTGRES or "")
                ready[version] = running.enter_context(made)
            return ready[version]

        yield server


@pytest.fixture(scope="session", params=[None] if GIVEN_POSTGRES else [NEWEST, OLDEST])
def postgres(
    request: pytest.FixtureRequest,
    postgres_servers: Callable[[PostgresVersion | None], Prepared],
) -> Prepared:
    """The server of this turn of the test."""
    return postgres_servers(request.param)


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


@contextlib.contextmanager
def _database(prepared: Prepared) -> Iterator[str]:
    url, template = prepared
    name = f"test_{uuid4().hex}"
    admin = _admin(url)
    with admin.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
    yield url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    admin.dispose()


@pytest.fixture
def database_url(postgres: Prepared) -> Iterator[str]:
    """A migrated database of this test's own."""
    with _database(postgres) as url:
        yield url


@pytest.fixture(scope="module")
def shared_database_url(postgres: Prepared) -> Iterator[str]:
    """One that the tests of a file share, who fill it once and only read it then."""
    with _database(postgres) as url:
        yield url


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


@pytest.fixture(scope="session")
def team_vision_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the example of a team's package is installed."""
    return install_example(tmp_path_factory.mktemp("team_vision"))


@pytest.fixture
def team_vision(team_vision_site: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, where this process and those that it starts find it."""
    monkeypatch.syspath_prepend(str(team_vision_site))
    paths = [str(team_vision_site), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    return team_vision_site


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction that is committed when the test is over."""
    with transaction(engine) as made:
        yield made
