"""A job's rows of iterations from where they are: the table or, once it is archived, a file."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from sqlalchemy import Connection, func, select

from models.tables import iterations
from services.archive import ArchiveFile, Archives
from services.book import Book
from services.packed import Columns, Span, joined, read_columns
from services.parquet import ROW_GROUP_ROWS


class RawRows(Protocol):
    """Rows of one job, in the order of their iterations; to be closed."""

    @property
    def newest(self) -> int:
        """The last iteration that has a row; 0 where none has."""

    def read(self, names: Sequence[str], span: Span, limit: int | None = None) -> Columns:
        """Read the named columns of the span's rows, of at most `limit` of them, the first ones."""

    def count(self, span: Span) -> int:
        """Count the span's rows."""

    def close(self) -> None: ...


def open_rows(connection: Connection, book: Book, archives: Archives) -> RawRows:
    """Find a job's rows.

    Args:
        connection: a snapshot: where the job is archived meanwhile, its rows are still there in it.
        book: the job's.
        archives: where its file is, if it has one.

    Raises:
        ArchiveSpoilt, ArchiveAway: as they say; by what is returned, too.

    """
    if book.archived:
        return ArchivedRows(archives.open(connection, book.job_key, book.job_id))
    return TableRows(connection, book.job_key)


class TableRows:
    """Rows in the table."""

    def __init__(self, connection: Connection, job_key: int) -> None:
        self._connection, self._job_key = connection, job_key

    @property
    def newest(self) -> int:
        query = select(func.max(iterations.c.iteration))
        found = query.where(iterations.c.job_key == self._job_key)
        return self._connection.execute(found).scalar_one() or 0

    def read(self, names: Sequence[str], span: Span, limit: int | None = None) -> Columns:
        return read_columns(self._connection, iterations, names, span, limit=limit)

    def count(self, span: Span) -> int:
        rows = iterations.c
        asked = [rows.job_key == self._job_key, rows.iteration.between(span.first, span.last)]
        if span.epoch is not None:
            asked.append(rows.epoch == span.epoch)
        return self._connection.execute(select(func.count()).where(*asked)).scalar_one()

    def close(self) -> None:
        """Leave the connection to whose it is."""


class ArchivedRows:
    """Rows in a file, which has all of them: row n is iteration n's."""

    def __init__(self, file: ArchiveFile) -> None:
        self._file = file

    @property
    def newest(self) -> int:
        return self._file.rows

    def read(self, names: Sequence[str], span: Span, limit: int | None = None) -> Columns:
        most = self._file.rows if limit is None else limit
        if span.epoch is None:
            return self._file.read(names, span.first, min(span.last, span.first + most - 1))
        return self._read_epoch(names, span, span.epoch, most)

    def count(self, span: Span) -> int:
        if span.epoch is None:
            return max(0, min(span.last, self._file.rows) - max(span.first, 1) + 1)
        found = self._read_epoch(("iteration",), span, span.epoch, self._file.rows)
        return len(found["iteration"])

    def close(self) -> None:
        self._file.close()

    def _read_epoch(self, names: Sequence[str], span: Span, epoch: int, most: int) -> Columns:
        """Read an epoch's rows, a row group at a time.

        The span is as narrow as the plan makes it, so what is looked through is little more.
        """
        wanted = tuple(dict.fromkeys((*names, "epoch")))
        columns = self._file.read(names, 1, 0)
        for first in range(span.first, min(span.last, self._file.rows) + 1, ROW_GROUP_ROWS):
            last = min(first + ROW_GROUP_ROWS - 1, span.last)
            piece = self._file.read(wanted, first, last)
            rows = np.flatnonzero(piece["epoch"].values == epoch)
            columns = joined([columns, {name: piece[name][rows] for name in names}])
            if len(columns["iteration"]) >= most:
                break
        return {name: series[:most] for name, series in columns.items()}
