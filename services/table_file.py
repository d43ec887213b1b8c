"""A file that holds an archived job's rows of one table: Parquet, read by row groups.

A page costs no more than the groups that it lies in, whatever the length of the run. Every page
of the file carries a checksum, which is looked at.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO
from uuid import UUID

import numpy as np
import pyarrow as pa
from pyarrow.parquet import ParquetFile

from models.domain.errors import ArchiveAway, ArchiveSpoilt
from services.archived_tables import JOB, ArchivedTable
from services.arrow_tables import columns_of
from services.filestore import OutsideStore, open_stored
from services.packed import Columns


@dataclass(frozen=True, slots=True)
class Booked:
    """A file as the book names it; `rows` is None where the book does not say how many."""

    job_id: UUID
    uri: str
    bytes: int
    rows: int | None = None


class TableFile:
    """One file, open for reading; from one thread at a time.

    Attributes:
        rows: how many there are in it.
        counts: how many rows each row group has.
        starts: how many lie before it.

    Raises:
        ArchiveSpoilt: it is gone, it is damaged, or it is not what the book says.
        ArchiveAway: the store does not answer.

    """

    rows: int
    counts: list[int]
    starts: list[int]

    def __init__(self, artifacts_url: str, table: ArchivedTable, booked: Booked) -> None:
        self.table = table
        self._booked = booked
        self._schema = table.schema(booked.job_id)
        self._cached: tuple[int, tuple[str, ...], Columns] | None = None
        with _telling(booked.job_id, None):
            self._source = _Source(open_stored(artifacts_url, booked.uri))
        try:
            with self._reading():
                self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._source.close()

    def group(self, place: int, names: Sequence[str]) -> Columns:
        """Read columns of a row group, unless they are those that were read last."""
        wanted = tuple(names)
        if self._cached is not None and self._cached[:2] == (place, wanted):
            return self._cached[2]
        with self._reading():
            group = self._file.read_row_group(place, columns=list(wanted), use_threads=False)
            found = columns_of(_one_batch(group))
        columns = {name: found[name] for name in wanted}
        self._cached = (place, wanted, columns)
        return columns

    def bounds(self, place: int, name: str) -> tuple[int, int]:
        """The smallest and the largest number of a row group's column."""
        column = self._schema.get_field_index(name)
        told = self._file.metadata.row_group(place).column(column).statistics
        if told is None or not told.has_min_max:
            raise self.spoilt("it does not say what its row groups hold")
        return told.min, told.max

    def nothing(self, names: Sequence[str]) -> Columns:
        """Columns without a row."""
        found = columns_of(_one_batch(self._schema.empty_table()))
        return {name: found[name] for name in names}

    def spoilt(self, reason: str) -> ArchiveSpoilt:
        return ArchiveSpoilt(str(self._booked.job_id), reason)

    def _open(self) -> None:
        size = self._source.seek(0, 2)
        if size != self._booked.bytes:
            raise self.spoilt(f"it has {size:,} bytes, the book says {self._booked.bytes:,}")
        self._source.seek(0)
        self._file = ParquetFile(self._source, page_checksum_verification=True, pre_buffer=False)
        found, wanted = self._file.schema_arrow, self._schema
        if not found.equals(wanted) or (found.metadata or {}).get(JOB) != wanted.metadata[JOB]:
            raise self.spoilt("it does not hold rows of this job")
        footer = self._file.metadata
        booked = self._booked.rows
        if booked is not None and footer.num_rows != booked:
            raise self.spoilt(f"it has {footer.num_rows:,} rows, the book says {booked:,}")
        self.rows = footer.num_rows
        self.counts = [footer.row_group(place).num_rows for place in range(footer.num_row_groups)]
        self.starts = np.cumsum([0, *self.counts])[:-1].tolist()

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
