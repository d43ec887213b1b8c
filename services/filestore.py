"""Reading files of jobs from wherever they lie, and from nowhere else."""

import os
import posixpath
from collections.abc import Iterator
from typing import IO, Any
from uuid import UUID

import fsspec
from fsspec.implementations.local import LocalFileSystem

CHUNK_BYTES = 1 << 20


class OutsideStore(RuntimeError):
    """A booked file does not lie below the store: it is not served."""

    def __init__(self, uri: str) -> None:
        super().__init__(f"{uri} does not lie in the store of artifacts")


def folder_of(artifacts_url: str, job_id: UUID | str) -> str:
    """Where all files of a job lie."""
    return f"{artifacts_url.rstrip('/')}/{job_id}"


def open_stored(artifacts_url: str, uri: str) -> IO[bytes]:
    """Open a file for reading.

    Raises:
        OutsideStore: it does not lie below `artifacts_url`.
        FileNotFoundError: it is not there.

    """
    store, root = fsspec.url_to_fs(artifacts_url)
    files, path = fsspec.url_to_fs(uri)
    if type(files) is not type(store) or not _lies_below(files, root, path):
        raise OutsideStore(uri)
    opened: IO[bytes] = files.open(path, "rb")
    return opened


def read_chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def _lies_below(files: Any, root: str, path: str) -> bool:  # noqa: ANN401 - fsspec has no types
    # A symbolic link in the store may point out of it.
    real = os.path.realpath if isinstance(files, LocalFileSystem) else posixpath.normpath
    folder, file = real(root), real(path)
    return file.startswith(folder.rstrip("/") + "/")
