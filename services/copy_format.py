"""PostgreSQL's binary COPY format, built by numpy: many rows are one structured array.

Formatting row by row in Python costs more than the training step that made a row. A row's fields
have a fixed width, and leaving out the bytes of those that are null is one boolean mask.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Cursor, sql
from psycopg.abc import Buffer, PQGen
from psycopg.copy import LibpqWriter
from psycopg.errors import QueryCanceled, error_from_result
from psycopg.generators import fetch_many, send
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn
from psycopg.waiting import Wait
from sqlalchemy import Connection

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER = b"\xff\xff"
NOTHING = HEADER + TRAILER
"""No row at all."""
NULL_LENGTH = -1
FLOAT64, INT64 = np.dtype("<f8"), np.dtype("<i8")

Values = Mapping[str, NDArray[Any] | int]


class CopyFormat:
    """Rows of one table for `COPY table (columns) FROM STDIN (FORMAT BINARY)`.

    Args:
        table: the table.
        fields: column and numpy's name of its type, big-endian: ">i2", ">i4", ">i8", ">f8".

    """

    def __init__(self, table: str, fields: Sequence[tuple[str, str]]) -> None:
        self.columns = tuple(name for name, _ in fields)
        self._kinds = {name: np.dtype(kind) for name, kind in fields}
        # Floats are moved as 64-bit integers: no bit of a NaN's payload is touched.
        stored = {name: np.dtype(f">i{kind.itemsize}") for name, kind in self._kinds.items()}
        self._tuple = np.dtype(
            [
                ("fields", ">i2"),
                *(
                    part
                    for name, kind in stored.items()
                    for part in ((f"{name}_length", ">i4"), (name, kind))
                ),
            ]
        )
        lengths = np.zeros((), self._tuple)
        lengths["fields"] = len(self.columns)
        for name, kind in self._kinds.items():
            lengths[f"{name}_length"] = kind.itemsize
        self._without_values = lengths.tobytes()
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, self.columns))
        )
        self.statement = statement.as_bytes(None)

    def encode(self, count: int, values: Values, nulls: Mapping[str, NDArray[np.bool_]]) -> bytes:
        """Encode `count` rows.

        Args:
            count: how many.
            values: an array, or one number for all rows, for each column.
            nulls: for each column that may be null, where it is.

        """
        tuples = np.frombuffer(bytearray(self._without_values * count), self._tuple)
        for name, kind in self._kinds.items():
            given = values[name]
            if kind.kind == "f" and isinstance(given, np.ndarray):
                given = np.asarray(given, FLOAT64).view(INT64)
            tuples[name] = given
        missing = {name: null for name, null in nulls.items() if null.any()}
        if not missing:
            return HEADER + tuples.tobytes() + TRAILER
        kept = np.ones((count, self._tuple.itemsize), dtype=bool)
        for name, null in missing.items():
            tuples[f"{name}_length"][null] = NULL_LENGTH
            offset = self._tuple.fields[name][1]  # type: ignore[index]
            kept[null, offset : offset + self._kinds[name].itemsize] = False
        cells = tuples.view(np.uint8).reshape(kept.shape)
        return HEADER + cells[kept].tobytes() + TRAILER

    def copy(
        self,
        connection: Connection,
        count: int,
        values: Values,
        nulls: Mapping[str, NDArray[np.bool_]],
    ) -> None:
        """Write rows (see `encode`) within the connection's transaction."""
        with copying(connection, self) as send:
            send(self.encode(count, values, nulls))


@contextmanager
def copying(connection: Connection, *formats: CopyFormat) -> Iterator[Callable[[bytes], None]]:
    """Write into several tables, one after the other, with as few ways to the database as one.

    Give what it yields the encoded rows of the first, then those of the second, … Each call waits
    for the rows before it and not for its own: the block, which must not use the connection
    otherwise, goes on while the database writes them. At its end all are written.
    """
    driver: Any = connection.connection.driver_connection
    statement = b"; ".join(each.statement for each in formats)
    with driver.cursor() as cursor:
        writer = _InTurn(cursor, len(formats))
        with cursor.copy(statement, writer=writer) as copy:
            yield copy.write


class _InTurn(LibpqWriter):
    """Sends the rows of table after table, and tells the end of each at once.

    The driver's own writer tells it when it waits for the answer. Until then the database only
    gathers rows, up to a thousand: nothing would be written while others are made ready here.
    """

    def __init__(self, cursor: Cursor[Any], tables: int) -> None:
        super().__init__(cursor)
        self._tables_left = tables
        self._is_answered = True

    def write(self, data: Buffer) -> None:
        """Send all rows of the next table."""
        self._settle()
        super().write(data)
        self._tell_end(None)
        self._tables_left -= 1

    def finish(self, exc: BaseException | None = None) -> None:
        """Wait until all is written; where tables are left over, none of it is."""
        self._settle()
        if self._tables_left:
            self._tell_end(b"not all rows came")
            # That the server gives up for it is news only where nothing else went wrong.
            with nullcontext() if exc is None else suppress(QueryCanceled):
                self._settle()

    def _tell_end(self, error: bytes | None) -> None:
        self.connection.wait(_telling_end(self.connection.pgconn, error))
        self._is_answered = False

    def _settle(self) -> None:
        """Wait for the answer to what was sent; behind it the database waits for the next table."""
        if self._is_answered:
            return
        self._is_answered = True
        for result in self.connection.wait(fetch_many(self.connection.pgconn)):
            if result.status == ExecStatus.FATAL_ERROR:
                # The tables after it are given up with it.
                self._tables_left = 0
                raise error_from_result(result)


def _telling_end(pgconn: PGconn, error: bytes | None) -> PQGen[None]:
    while pgconn.put_copy_end(error) == 0:
        yield Wait.W
    yield from send(pgconn)
