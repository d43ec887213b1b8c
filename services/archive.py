"""The file that holds an archived job's rows: Parquet, a row an iteration, from 1 on.

It is read by row groups, so a page costs no more than the group that it lies in, whatever the
length of the run. Every page of the file carries a checksum, which is looked at.
"""

import contextlib
import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Self
from uuid import UUID

import numpy as np
import pyarrow as pa
from pyarrow.parquet import ParquetFile
from sqlalchemy import Connection, select

from models.domain.artifacts import ARCHIVE
from models.domain.errors import ArchiveAway, ArchiveSpoilt
from models.tables import artifacts, iterations, progress
from services.aggregates import Floats, Ints
from services.arrow_tables import columns_of, schema_of
from services.filestore import OutsideStore, open_stored
from services.packed import Columns, Series, joined, nulls_of

COLUMNS = tuple(column.name for column in iterations.c if column.name != "job_key")
JOB = b"gradbook.job"
"""The job's id, in what the file says about itself."""


def archive_schema(job_id: UUID) -> pa.Schema:
    """What is in the file: every column of a row, and whose they are."""
    return schema_of(COLUMNS).with_metadata({JOB: str(job_id).encode()})


@dataclass(frozen=True, slots=True)
class Booked:
    """A file of rows as the book names it."""

    job_id: UUID
    uri: str
    bytes: int
    rows: int


@dataclass(frozen=True, slots=True)
class Archives:
    """The archives of all jobs.

    Attributes:
        artifacts_url: the store that they lie in.

    """

    artifacts_url: str

    def open(self, connection: Connection, job_key: int, job_id: UUID) -> "ArchiveFile":
        """Open the archive of a job that has one; to be closed.

        Raises:
            ArchiveSpoilt, ArchiveAway: as they say.

        """
        found = connection.execute(
            select(artifacts.c.uri, artifacts.c.bytes, progress.c.iteration)
            .join(progress, progress.c.job_key == artifacts.c.job_key)
            .where(artifacts.c.job_key == job_key, artifacts.c.name == ARCHIVE)
        ).one_or_none()
        if found is None:
            raise ArchiveSpoilt(str(job_id), "the book names no file")
        return ArchiveFile(self.artifacts_url, Booked(job_id, *found))


class ArchiveFile:
    """One archive, open for reading; from one thread at a time.

    Raises:
        ArchiveSpoilt: it is gone, it is damaged, or it is not what the book says.
        ArchiveAway: the store does not answer.

    """

    def __init__(self, artifacts_url: str, booked: Booked) -> None:
        self._booked = booked
        self._cached: tuple[int, tuple[str, ...], Columns] | None = None
        with _telling(booked.job_id, None):
            self._source = _Source(open_stored(artifacts_url, booked.uri))
        try:
            with self._reading():
                self._open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def rows(self) -> int:
        return self._booked.rows

    def close(self) -> None:
        self._source.close()

    def read(self, names: Sequence[str], first: int, last: int) -> Columns:
        """Read columns of iterations `first` to `last`, as far as they are there."""
        begin, end = max(first, 1) - 1, min(last, self.rows)
        parts: list[Columns] = []
        if begin < end:
            place = bisect_right(self._starts, begin) - 1
            while place < len(self._starts) and self._starts[place] < end:
                start = self._starts[place]
                group = self._group(place, tuple(names))
                cut = slice(max(begin - start, 0), end - start)
                parts.append({name: series[cut] for name, series in group.items()})
                place += 1
        else:
            parts.append(self._nothing(names))
        return parts[0] if len(parts) == 1 else joined(parts)

    def values(self, column: str, first: int, last: int) -> tuple[Ints, Floats]:
        """Read a column of iterations `first` to `last`: iterations that have a value, and it."""
        series = self.read((column,), first, last)[column]
        numbers = np.arange(max(first, 1), max(first, 1) + len(series))
        there = ~nulls_of(series)
        return numbers[there], series.values[there]

    def loss_sha256(self) -> str:
        """The hash of all its losses, as a job's book has it."""
        digest = hashlib.sha256()
        for place in range(len(self._starts)):
            losses = self._group(place, ("loss",))["loss"].values
            digest.update(losses.astype("<f8").tobytes())
        return digest.hexdigest()

    def _open(self) -> None:
        size = self._source.seek(0, 2)
        if size != self._booked.bytes:
            raise self._spoilt(f"it has {size:,} bytes, the book says {self._booked.bytes:,}")
        self._source.seek(0)
        self._file = ParquetFile(self._source, page_checksum_verification=True, pre_buffer=False)
        schema, wanted = self._file.schema_arrow, archive_schema(self._booked.job_id)
        if not schema.equals(wanted) or (schema.metadata or {}).get(JOB) != wanted.metadata[JOB]:
            raise self._spoilt("it does not hold rows of this job")
        footer = self._file.metadata
        if footer.num_rows != self.rows:
            raise self._spoilt(f"it has {footer.num_rows:,} rows, the book says {self.rows:,}")
        counts = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
        self._starts = np.cumsum([0, *counts])[:-1].tolist()

    def _group(self, place: int, names: tuple[str, ...]) -> Columns:
        """Read a row group, unless it is the one that was read last."""
        if self._cached is not None and self._cached[:2] == (place, names):
            return self._cached[2]
        with self._reading():
            table = self._file.read_row_group(place, columns=list(names), use_threads=False)
            found = columns_of(_one_batch(table))
            if "iteration" in found:
                self._check_numbers(place, found["iteration"])
        columns = {name: found[name] for name in names}
        self._cached = (place, names, columns)
        return columns

    def _check_numbers(self, place: int, numbers: Series) -> None:
        begin = self._starts[place] + 1
        if not np.array_equal(numbers.values, np.arange(begin, begin + len(numbers))):
            raise self._spoilt("its rows are not those of iterations 1, 2, 3, …")

    def _nothing(self, names: Sequence[str]) -> Columns:
        empty = _one_batch(archive_schema(self._booked.job_id).empty_table())
        found = columns_of(empty)
        return {name: found[name] for name in names}

    def _spoilt(self, reason: str) -> ArchiveSpoilt:
        return ArchiveSpoilt(str(self._booked.job_id), reason)

    def _reading(self) -> contextlib.AbstractContextManager[None]:
        return _telling(self._booked.job_id, self._source)


class _Source:
    """A stored file as Arrow reads it, which remembers what the store has raised."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.failure: Exception | None = None

    @property
    def closed(self) -> bool:
        return self._file.closed

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except Exception as failure:
            self.failure = failure
            raise

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


@contextlib.contextmanager
def _telling(job_id: UUID, source: _Source | None) -> Iterator[None]:
    """Tell a file that is not good from a store that does not answer.

    Both are OSErrors to Arrow at times; what the store itself has raised is remembered.
    """
    try:
        yield
    except (ArchiveSpoilt, MemoryError):
        raise
    except (FileNotFoundError, IsADirectoryError) as failure:
        raise ArchiveSpoilt(str(job_id), "it is not there") from failure
    except OutsideStore as failure:
        raise ArchiveSpoilt(str(job_id), "it does not lie in the store of artifacts") from failure
    except Exception as failure:
        if source is None or source.failure is not None:
            raise ArchiveAway(str(job_id)) from failure
        raise ArchiveSpoilt(str(job_id), f"it is damaged ({str(failure)[:200]})") from failure


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
