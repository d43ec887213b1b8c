"""A slot's own way to the database: one session, found again where it was lost."""

import contextlib
from collections.abc import Iterator

import psycopg
import sqlalchemy.exc
from sqlalchemy import Connection, Engine

MISTAKES = {
    "0A": "a feature that the server does not have",
    "21": "more rows than there may be",
    "22": "a value that the type can't hold",
    "23": "a rule of the tables is broken",
    "42": "syntax, a name that is unknown, a privilege that is missing",
    "44": "a rule of a view is broken",
    "P0": "a function of the database raises it",
}
"""Classes of SQLSTATE that another try meets again.

Everything else that a server says is an outage: it restarts, it has become a standby, it is out of
room, it has ended a session that stood still."""

MISUSES = (
    psycopg.ProgrammingError,
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.NotSupportedError,
)
"""What psycopg itself refuses to send, without a word from the server."""


class Outage(RuntimeError):
    """The database is away, or can't do it now: try the whole transaction again."""


OUTAGES = (
    Outage,
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.TimeoutError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
)
"""An outage as a line raises it, and as it looks to those who go past a line."""


def is_outage(error: Exception) -> bool:
    """Whether another try of the whole transaction may do better: MISTAKES and MISUSES are none.

    COPY goes past SQLAlchemy, so psycopg's own errors are told apart like those it has wrapped.
    """
    if isinstance(error, sqlalchemy.exc.TimeoutError):
        return True
    said = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
    if not isinstance(said, psycopg.Error):
        return False
    if said.sqlstate is None:
        return not isinstance(said, MISUSES)
    return said.sqlstate[:2] not in MISTAKES


class Line:
    """Keeps one session for a slot, so that the book can say which session writes for it.

    Args:
        engine: the worker's.

    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self.session = 0

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Commit at the end, roll back where it raises.

        Raises:
            Outage: try again; whether a commit happened may be unknown.

        """
        try:
            connection = self._connect()
            with connection.begin():
                yield connection
        except (sqlalchemy.exc.SQLAlchemyError, psycopg.Error) as error:
            if not is_outage(error):
                raise
            self._drop()
            raise Outage(str(error)) from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
            self.session += 1
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*OUTAGES):
                connection.invalidate()
                connection.close()
