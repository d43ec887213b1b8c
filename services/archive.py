"""An archived job's rows of iterations in their file: row n is iteration n's."""

import contextlib
import hashlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from sqlalchemy import Connection, select

from models.domain.errors import ArchiveSpoilt
from models.tables import artifacts, progress
from services.aggregates import Floats, Ints
from services.archived_tables import ITERATIONS, ArchivedTable
from services.packed import Columns, Series, joined, nulls_of
from services.readings_file import ReadingsFile
from services.table_file import Booked, TableFile


@dataclass(frozen=True, slots=True)
class Archives:
    """The archives of all jobs.

    Attributes:
        artifacts_url: the store that they lie in.

    """

    artifacts_url: str

    def open(self, connection: Connection, job_key: int, job_id: UUID) -> "ArchiveFile":
        """Open the rows of iterations of a job that is archived; to be closed.

        Raises:
            ArchiveSpoilt, ArchiveAway: as they say.

        """
        booked = _booked(connection, ITERATIONS, {job_key: job_id}).get(job_key)
        return self._open(job_id, booked)

    def open_readings(
        self, connection: Connection, table: ArchivedTable, job_key: int, job_id: UUID
    ) -> ReadingsFile | None:
        """Open the rows of another table of a job that is archived; to be closed.

        Returns:
            None where the book names no such file: the job has no rows of that table, or it was
            archived when they stayed there, and they still do.

        Raises:
            ArchiveSpoilt, ArchiveAway: as they say.

        """
        booked = _booked(connection, table, {job_key: job_id}).get(job_key)
        return None if booked is None else self._open_readings(table, booked)

    def open_several(
        self, connection: Connection, archived: Mapping[int, UUID], closing: ExitStack
    ) -> dict[int, "ArchiveFile"]:
        """Open the rows of iterations of jobs that are archived, as `open` does.

        Args:
            connection: a snapshot.
            archived: the jobs' ids by their keys.
            closing: what closes the files.

        """
        booked = _booked(connection, ITERATIONS, archived)
        return {
            key: closing.enter_context(contextlib.closing(self._open(job_id, booked.get(key))))
            for key, job_id in archived.items()
        }

    def open_several_readings(
        self,
        connection: Connection,
        table: ArchivedTable,
        archived: Mapping[int, UUID],
        closing: ExitStack,
    ) -> dict[int, ReadingsFile]:
        """Open the rows of another table, of those of the jobs whose book names a file of them."""
        return {
            key: closing.enter_context(contextlib.closing(self._open_readings(table, booked)))
            for key, booked in _booked(connection, table, archived).items()
        }

    def _open(self, job_id: UUID, booked: Booked | None) -> "ArchiveFile":
        if booked is None:
            raise ArchiveSpoilt(str(job_id), "the book names no file")
        return ArchiveFile(TableFile(self.artifacts_url, ITERATIONS, booked))

    def _open_readings(self, table: ArchivedTable, booked: Booked) -> ReadingsFile:
        return ReadingsFile(TableFile(self.artifacts_url, table, booked))


def _booked(
    connection: Connection, table: ArchivedTable, archived: Mapping[int, UUID]
) -> dict[int, Booked]:
    """What the book says of the files of a table's rows; by the jobs' keys."""
    if not archived:
        return {}
    found = connection.execute(
        select(artifacts.c.job_key, artifacts.c.uri, artifacts.c.bytes, progress.c.iteration)
        .join(progress, progress.c.job_key == artifacts.c.job_key)
        .where(artifacts.c.job_key.in_(list(archived)), artifacts.c.name == table.file_name)
    )
    # Only of iterations it is known how many rows there are: one each.
    return {
        key: Booked(archived[key], uri, size, iteration if table is ITERATIONS else None)
        for key, uri, size, iteration in found
    }


class ArchiveFile:
    """Rows of all iterations, from 1 on, none left out.

    Raises:
        ArchiveSpoilt, ArchiveAway: as they say.

    """

    def __init__(self, file: TableFile) -> None:
        self._file = file

    @property
    def rows(self) -> int:
        return self._file.rows

    def close(self) -> None:
        self._file.close()

    def read(self, names: Sequence[str], first: int, last: int) -> Columns:
        """Read columns of iterations `first` to `last`, as far as they are there."""
        begin, end = max(first, 1) - 1, min(last, self.rows)
        starts = self._file.starts
        parts: list[Columns] = []
        if begin < end:
            place = bisect_right(starts, begin) - 1
            while place < len(starts) and starts[place] < end:
                group = self._group(place, names)
                cut = slice(max(begin - starts[place], 0), end - starts[place])
                parts.append({name: series[cut] for name, series in group.items()})
                place += 1
        else:
            parts.append(self._file.nothing(names))
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
        for place in range(len(self._file.starts)):
            losses = self._group(place, ("loss",))["loss"].values
            digest.update(losses.astype("<f8").tobytes())
        return digest.hexdigest()

    def _group(self, place: int, names: Sequence[str]) -> Columns:
        found = self._file.group(place, names)
        if "iteration" in found:
            self._check_numbers(place, found["iteration"])
        return found

    def _check_numbers(self, place: int, numbers: Series) -> None:
        begin = self._file.starts[place] + 1
        if not np.array_equal(numbers.values, np.arange(begin, begin + len(numbers))):
            raise self._file.spoilt("its rows are not those of iterations 1, 2, 3, …")
