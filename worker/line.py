"""A slot's own way to the database: one session, found again where it was lost."""

import contextlib
from collections.abc import Iterator

import psycopg
import sqlalchemy.exc
from psycopg.errors import IdleInTransactionSessionTimeout
from sqlalchemy import Connection, Engine


class SessionEnded(RuntimeError):
    """The server has ended the session: this process stood still in a transaction for too long."""


OUTAGES = (
    SessionEnded,
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.TimeoutError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
)
"""Away, restarting, out of connections or of room, deadlock, serialisation: try the whole again.

Psycopg's own stand beside SQLAlchemy's because COPY goes past SQLAlchemy."""


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
            OUTAGES: try again; whether a commit happened may be unknown.

        """
        if self._connection is None:
            self._connection = self._engine.connect()
            self.session += 1
        try:
            with self._connection.begin():
                yield self._connection
        except OUTAGES:
            self._drop()
            raise
        except (sqlalchemy.exc.DBAPIError, psycopg.Error) as error:
            # To psycopg that is no outage but a mistake of the program's.
            if not isinstance(getattr(error, "orig", error), IdleInTransactionSessionTimeout):
                raise
            self._drop()
            raise SessionEnded from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*OUTAGES):
                connection.invalidate()
                connection.close()
