"""A finished job's rows become a file: written whole or not at all, read back and checked."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import fsspec
from sqlalchemy import Engine

from foundation.faults import ArchiveMoment, reach
from models.domain.artifacts import ARCHIVE_KIND
from models.tables import iterations
from services.archive import COLUMNS, ArchiveFile, Booked, archive_schema
from services.archiving import Wish
from services.database import transaction
from services.filestore import folder_of, open_stored, read_chunks
from services.packed import Columns, Span, read_columns
from services.parquet import ParquetRows
from worker.files import remove

PIECE_ROWS = 20_000


class Unfit(RuntimeError):
    """The job's rows are not what its book says: the text tells why."""


class LeftOff(RuntimeError):
    """The worker leaves: another one begins anew."""


def archive_folder(artifacts_url: str, job_id: object) -> str:
    """Where a job's archive lies, and what is left of tries that made none."""
    return f"{folder_of(artifacts_url, str(job_id))}/archive"


def make_archive(
    engine: Engine, artifacts_url: str, wish: Wish, left_off: Callable[[], bool]
) -> Mapping[str, Any]:
    """Write the rows of a job to a file of this try's own, and read it back.

    Memory holds a row group, and no transaction lasts longer than reading some rows: nobody
    changes those of a finished job, and whether it stayed finished is asked when this is booked.

    Returns:
        What is to be booked: uri, bytes, sha256, kind.

    Raises:
        Unfit: the book is not complete, or its losses are not those of its hash.
        LeftOff: `left_off` said so.

    """
    if wish.rows != wish.iteration:
        msg = f"{wish.rows:,} rows are booked, {wish.iteration:,} should be"
        raise Unfit(msg)
    uri = f"{archive_folder(artifacts_url, wish.job_id)}/{uuid4().hex}.parquet"
    try:
        with _whole_file(uri) as file:
            written = _Written(file)
            _write(engine, written, wish, left_off)
        _check(artifacts_url, uri, written, wish)
    except BaseException:
        remove(uri)
        raise
    return {
        "uri": uri,
        "bytes": written.tell(),
        "sha256": written.sha256,
        "kind": ARCHIVE_KIND,
    }


def _write(engine: Engine, written: "_Written", wish: Wish, left_off: Callable[[], bool]) -> None:
    rows = ParquetRows(written, archive_schema(wish.job_id))
    try:
        for piece in _pieces(engine, wish, left_off):
            rows.add(piece)
            reach(ArchiveMoment.PART_WRITTEN)
    except BaseException:
        # While its file is open: the writer would else be closed when it is collected.
        with contextlib.suppress(Exception):
            rows.close()
        raise
    rows.close()


def _pieces(engine: Engine, wish: Wish, left_off: Callable[[], bool]) -> Iterator[Columns]:
    for first in range(1, wish.iteration + 1, PIECE_ROWS):
        if left_off():
            raise LeftOff
        last = min(first + PIECE_ROWS - 1, wish.iteration)
        with transaction(engine) as connection:
            piece = read_columns(connection, iterations, COLUMNS, Span(wish.job_key, first, last))
        if len(piece["iteration"]) != last - first + 1:
            msg = f"rows are missing among iterations {first:,} to {last:,}"
            raise Unfit(msg)
        yield piece


def _check(artifacts_url: str, uri: str, written: "_Written", wish: Wish) -> None:
    """Read what the store has: its bytes are those that were written, its losses the book's."""
    digest = hashlib.sha256()
    with open_stored(artifacts_url, uri) as file:
        for chunk in read_chunks(file):
            digest.update(chunk)
    if digest.hexdigest() != written.sha256:
        msg = f"{uri} was not stored as it was written"
        raise OSError(msg)
    booked = Booked(wish.job_id, uri, written.tell(), wish.iteration)
    with ArchiveFile(artifacts_url, booked) as archive:
        found = archive.loss_sha256()
    if found != wish.loss_sha256:
        msg = f"loss_sha256 is {wish.loss_sha256} in the book, and {found} of its rows"
        raise Unfit(msg)


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
