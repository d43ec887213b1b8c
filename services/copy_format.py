"""PostgreSQL's binary COPY format, built by numpy: many rows are one structured array.

Formatting row by row in Python costs more than the training step that made a row. A row's fields
have a fixed width, and leaving out the bytes of those that are null is one boolean mask.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from sqlalchemy import Connection

HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER = b"\xff\xff"
NULL_LENGTH = -1

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
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, self.columns))
        )
        self._statement = statement.as_bytes(None)

    def encode(self, count: int, values: Values, nulls: Mapping[str, NDArray[np.bool_]]) -> bytes:
        """Encode `count` rows.

        Args:
            count: how many.
            values: an array, or one number for all rows, for each column.
            nulls: for each column that may be null, where it is.

        """
        tuples = np.zeros(count, self._tuple)
        tuples["fields"] = len(self.columns)
        for name, kind in self._kinds.items():
            tuples[f"{name}_length"] = kind.itemsize
            given = values[name]
            is_float = kind.kind == "f" and isinstance(given, np.ndarray)
            tuples[name] = np.ascontiguousarray(given, "<f8").view("<i8") if is_float else given
        if not any(null.any() for null in nulls.values()):
            return HEADER + tuples.tobytes() + TRAILER
        kept = np.ones((count, self._tuple.itemsize), dtype=bool)
        for name, null in nulls.items():
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
        with self.copying(connection, count, values, nulls):
            pass

    @contextmanager
    def copying(
        self,
        connection: Connection,
        count: int,
        values: Values,
        nulls: Mapping[str, NDArray[np.bool_]],
    ) -> Iterator[None]:
        """Send rows, and wait at the block's end until they are written.

        So the block, which must not use the connection, runs while the database writes them.
        """
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor, cursor.copy(self._statement) as copy:
            copy.write(self.encode(count, values, nulls))
            # A part of it would lie here until the end, and the database waits for the whole.
            driver.pgconn.flush()
            yield
