"""The way to PostgreSQL: one engine a process, one transaction a request or step."""

from collections.abc import Iterator
from contextlib import contextmanager

import orjson
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.pool import ConnectionPoolEntry

from foundation.settings import DatabaseSettings
from services.jsonb import write_json

# How long TCP may wait for an answer to what was sent before the connection counts as lost.
TCP_USER_TIMEOUT_MILLISECONDS = 10_000


class DatabaseUrlMissing(RuntimeError):
    """No database is configured."""

    def __init__(self) -> None:
        super().__init__(
            "GRADBOOK_DATABASE_URL is not set: name a PostgreSQL, or run `gradbook up`, "
            "which brings its own"
        )


def driver_url(settings: DatabaseSettings) -> URL:
    """Name psycopg 3 as the driver of the configured database.

    Raises:
        DatabaseUrlMissing: none is configured.

    """
    if settings.url is None:
        raise DatabaseUrlMissing
    return make_url(settings.url.get_secret_value()).set(drivername="postgresql+psycopg")


def listening_url(settings: DatabaseSettings) -> str:
    """Where a session that LISTENs connects to, as libpq reads it: past a pooler, if there is one.

    Raises:
        DatabaseUrlMissing: none is configured.

    """
    if settings.direct_url is None:
        url = driver_url(settings)
    else:
        url = make_url(settings.direct_url.get_secret_value())
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def make_engine(
    settings: DatabaseSettings,
    *,
    application_name: str,
    statement_timeout: bool = False,
    idle_timeout_seconds: float | None = None,
) -> Engine:
    """One engine a process; it holds at most `pool_size` connections.

    Args:
        settings: where the database is.
        application_name: shown in pg_stat_activity.
        statement_timeout: whether a statement ends after `statement_timeout_seconds`.
        idle_timeout_seconds: how long a transaction may wait for its next statement before the
            server ends the connection: a process that was stopped holds its locks no longer.

    """
    # The API's times are in UTC, whatever the server's own setting is.
    options = "-c timezone=UTC"
    if statement_timeout:
        options += f" -c statement_timeout={settings.statement_timeout_seconds * 1000}"
    if idle_timeout_seconds is not None:
        idle_milliseconds = round(idle_timeout_seconds * 1000)
        options += f" -c idle_in_transaction_session_timeout={idle_milliseconds}"
    return create_engine(
        driver_url(settings),
        pool_size=settings.pool_size,
        max_overflow=0,
        json_serializer=write_json,
        # A page of jobs is mostly specs and plans, and reading them is a third of its time.
        json_deserializer=orjson.loads,
        pool_timeout=settings.connect_timeout_seconds,
        # A connection that a restarted server closed is found at checkout, not in a request.
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": settings.connect_timeout_seconds,
            "application_name": application_name,
            "tcp_user_timeout": TCP_USER_TIMEOUT_MILLISECONDS,
            "options": options,
        },
    )


def close_engine(engine: Engine) -> None:
    """Close its connections, those that threads still hold too: as each is given back.

    `Engine.dispose` alone closes what lies in the pool now, and forgets the pool: what comes back
    later stays open until it is collected.
    """
    event.listen(engine, "checkin", _close)
    engine.dispose()


def _close(_: object, entry: ConnectionPoolEntry) -> None:
    entry.close()


def limit_statements(connection: Connection, seconds: float) -> None:
    """Let no statement of the transaction take longer: it ends with SQLSTATE 57014."""
    connection.execute(_BOUND, {"milliseconds": str(max(1, round(seconds * 1000)))})


_BOUND = text("SELECT set_config('statement_timeout', :milliseconds, true)")


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One step of a task: committed at the end, rolled back where it raises."""
    with engine.begin() as connection:
        yield connection


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """Several reads that agree: REPEATABLE READ, READ ONLY.

    It ends by a COMMIT: at a ROLLBACK the driver forgets every statement that it had prepared, and
    each read would be parsed and planned anew.
    """
    with engine.connect().execution_options(
        isolation_level="REPEATABLE READ", postgresql_readonly=True
    ) as connection:
        yield connection
        connection.commit()
