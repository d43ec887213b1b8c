"""A job's readings of layers or metrics from where they are: the table, or a file."""

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import Connection, func, select

from services.archive import Archives
from services.archived_tables import ArchivedTable
from services.book import Book
from services.packed import Columns, Span, read_columns


class Readings(Protocol):
    """Rows of one table, in the order of its key; to be closed."""

    def read(self, names: Sequence[str], span: Span, limit: int | None = None) -> Columns:
        """Read the named columns of the span's rows, of at most `limit` of them, the first ones."""

    def count(self, span: Span) -> int:
        """Count the span's rows."""

    def close(self) -> None: ...


def open_readings(
    connection: Connection, table: ArchivedTable, book: Book, archives: Archives
) -> Readings:
    """Find a job's readings.

    Args:
        connection: a snapshot: where the job is archived meanwhile, they are still there in it.
        table: whose rows.
        book: the job's.
        archives: where its files are, if it has some.

    Raises:
        ArchiveSpoilt, ArchiveAway: as they say; by what is returned, too.

    """
    file = None
    if book.archived:
        file = archives.open_readings(connection, table, book.job_key, book.job_id)
    return TableReadings(connection, table) if file is None else file


class TableReadings:
    """Readings in the table."""

    def __init__(self, connection: Connection, table: ArchivedTable) -> None:
        self._connection, self._table = connection, table.table

    def read(self, names: Sequence[str], span: Span, limit: int | None = None) -> Columns:
        return read_columns(self._connection, self._table, names, span, limit=limit)

    def count(self, span: Span) -> int:
        rows = self._table.c
        asked = [rows.job_key == span.job_key, rows.iteration.between(span.first, span.last)]
        if span.metric is not None:
            asked.append(rows.metric == span.metric)
        return self._connection.execute(select(func.count()).where(*asked)).scalar_one()

    def close(self) -> None:
        """Leave the connection to whose it is."""
