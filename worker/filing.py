"""A finished job's rows become files: written whole or not at all, read back and checked."""

import contextlib
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import fsspec
import numpy as np
import pyarrow as pa
from sqlalchemy import Engine

from foundation.faults import ArchiveMoment, reach
from services.archive import ArchiveFile
from services.archived_tables import ARCHIVED, ITERATIONS, METRICS, ArchivedTable
from services.archiving import Wish
from services.filestore import folder_of, open_stored, read_chunks
from services.packed import Columns, nulls_of
from services.parquet import ParquetRows
from services.table_file import Booked, TableFile
from worker.files import remove
from worker.portions import Unfit, names_of_metrics, portions_of


class LeftOff(RuntimeError):
    """The worker leaves: another one begins anew."""


def archive_folder(artifacts_url: str, job_id: object) -> str:
    """Where a job's archive lies, and what is left of tries that made none."""
    return f"{folder_of(artifacts_url, str(job_id))}/archive"


def make_files(
    engine: Engine, artifacts_url: str, wish: Wish, left_off: Callable[[], bool]
) -> list[Mapping[str, Any]]:
    """Write the rows of a job to files of this try's own, one a table, and read them back.

    Memory holds a row group, and no transaction lasts longer than reading some rows: nobody
    changes those of a finished job, and whether it stayed finished is asked when this is booked.

    Returns:
        What is to be booked, of each file: name, uri, bytes, sha256. Without rows of iterations
        there is a file all the same, of another table none.

    Raises:
        Unfit: the book is not complete, or its losses are not those of its hash.
        LeftOff: `left_off` said so.

    """
    if wish.rows != wish.iteration:
        msg = f"{wish.rows:,} rows are booked, {wish.iteration:,} should be"
        raise Unfit(msg)
    files: list[Mapping[str, Any]] = []
    try:
        for table in ARCHIVED:
            portions = portions_of(engine, table, wish)
            first = next(portions, None)
            if first is None and table is not ITERATIONS:
                continue
            names = names_of_metrics(engine, wish) if table is METRICS else None
            rows = portions if first is None else itertools.chain([first], portions)
            made = _Making(artifacts_url, wish, table, table.schema(wish.job_id, names))
            files.append(made.make(_until(left_off, rows)))
    except BaseException:
        for file in files:
            remove(file["uri"])
        raise
    return files


def _until(left_off: Callable[[], bool], portions: Iterable[Columns]) -> Iterator[Columns]:
    for portion in portions:
        if left_off():
            raise LeftOff
        yield portion


@dataclass(frozen=True, slots=True)
class _Making:
    """One file that is to be made."""

    artifacts_url: str
    wish: Wish
    table: ArchivedTable
    schema: pa.Schema

    def make(self, portions: Iterable[Columns]) -> Mapping[str, Any]:
        stem = Path(self.table.file_name).stem
        folder = archive_folder(self.artifacts_url, self.wish.job_id)
        uri = f"{folder}/{stem}-{uuid4().hex}.parquet"
        content = Content()
        try:
            with _whole_file(uri) as file:
                written = _Written(file)
                self._write(written, content.watch(portions))
            self._check(uri, written, content)
        except BaseException:
            remove(uri)
            raise
        return {
            "name": self.table.file_name,
            "uri": uri,
            "bytes": written.tell(),
            "sha256": written.sha256,
        }

    def _write(self, written: "_Written", portions: Iterable[Columns]) -> None:
        rows = ParquetRows(written, self.schema)
        try:
            for portion in portions:
                rows.add(portion)
                reach(ArchiveMoment.PART_WRITTEN)
        except BaseException:
            # While its file is open: the writer would else be closed when it is collected.
            with contextlib.suppress(Exception):
                rows.close()
            raise
        rows.close()

    def _check(self, uri: str, written: "_Written", content: "Content") -> None:
        """Read what the store has: the bytes that were written, and the rows that were read."""
        if _sha256_of(self.artifacts_url, uri) != written.sha256:
            msg = f"{uri} was not stored as it was written"
            raise OSError(msg)
        booked = Booked(self.wish.job_id, uri, written.tell(), content.rows)
        found = Content()
        with contextlib.closing(TableFile(self.artifacts_url, self.table, booked)) as file:
            for place in range(len(file.starts)):
                found.add(file.group(place, self.table.columns))
            losses = ArchiveFile(file).loss_sha256() if self.table is ITERATIONS else None
        if found.digests != content.digests:
            msg = f"{uri} does not hold the rows that were read"
            raise OSError(msg)
        if losses not in {None, self.wish.loss_sha256}:
            msg = f"loss_sha256 is {self.wish.loss_sha256} in the book, and {losses} of its rows"
            raise Unfit(msg)


def _sha256_of(artifacts_url: str, uri: str) -> str:
    digest = hashlib.sha256()
    with open_stored(artifacts_url, uri) as file:
        for chunk in read_chunks(file):
            digest.update(chunk)
    return digest.hexdigest()


class Content:
    """What rows come to, column by column, whatever the portions that they come in."""

    def __init__(self) -> None:
        self.rows = 0
        self._hashes: dict[str, Any] = {}

    @property
    def digests(self) -> dict[str, str]:
        return {name: each.hexdigest() for name, each in self._hashes.items()}

    def watch(self, portions: Iterable[Columns]) -> Iterator[Columns]:
        for portion in portions:
            self.add(portion)
            yield portion

    def add(self, portion: Columns) -> None:
        for name, series in portion.items():
            nulls = nulls_of(series)
            values = np.where(nulls, 0, series.values)
            for part, array in ((name, values), (f"{name} is missing", nulls)):
                self._hashes.setdefault(part, hashlib.sha256()).update(array.tobytes())
        self.rows += len(next(iter(portion.values())))


class _Written:
    """A file's bytes, hashed and counted on their way."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._bytes = 0

    @property
    def closed(self) -> bool:
        return self._file.closed

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, data: memoryview, /) -> int:
        self._file.write(data)
        self._digest.update(data)
        self._bytes += len(data)
        return len(data)

    def tell(self) -> int:
        return self._bytes

    def flush(self) -> None:
        self._file.flush()


@contextlib.contextmanager
def _whole_file(uri: str) -> Iterator[IO[bytes]]:
    """Write a file that is there under its name only once it is whole.

    A local one is written beside its place, synced and renamed, and its folder is synced; an
    object store puts an object whole by itself.
    """
    store, path = fsspec.url_to_fs(uri)
    if "file" not in _protocols(store):
        with store.open(path, "wb") as file:
            yield file
        return
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f".{place.name}.part")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(place)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    folder = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _protocols(store: Any) -> tuple[str, ...]:  # noqa: ANN401 - fsspec has no types
    named = store.protocol
    return (named,) if isinstance(named, str) else tuple(named)
