"""Files of a job: written whole or not at all, named by attempt, told by their hash."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import fsspec

from worker.training.errors import StoreFailed


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that is complete at `uri`: a path, or an fsspec URL."""

    uri: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Store:
    """One attempt's folder in a job's files.

    Every attempt writes below a folder of its own, so one that lost its job without knowing
    cannot overwrite what its successor wrote.
    """

    artifacts_url: str
    attempt: int

    def write(self, name: str, content: bytes) -> Stored:
        """Write a file and return where it is.

        A local file is written beside its place, synced, renamed, and the folder is synced; an
        object store puts an object whole by itself.

        Raises:
            StoreFailed: names the place and what the file system said.

        """
        uri = f"{self.artifacts_url.rstrip('/')}/attempt-{self.attempt}/{name}"
        local = _local_path(uri)
        try:
            if local is None:
                with fsspec.open(uri, "wb") as file:
                    file.write(content)
            else:
                _write_local(local, content)
        except OSError as failure:
            raise StoreFailed(uri, str(failure)) from failure
        return Stored(str(local or uri), hashlib.sha256(content).hexdigest(), len(content))


def read(uri: str) -> bytes:
    """Return a file's bytes.

    Raises:
        StoreFailed: it is not there or cannot be read.

    """
    try:
        with fsspec.open(uri, "rb") as file:
            content: bytes = file.read()
    except OSError as failure:
        missing = isinstance(failure, FileNotFoundError)
        raise StoreFailed(uri, str(failure), missing=missing) from failure
    return content


def _local_path(uri: str) -> Path | None:
    if uri.startswith("file://"):
        return Path(uri.removeprefix("file://"))
    return None if "://" in uri else Path(uri)


def _write_local(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        # A full disk is not to be kept full by what did not fit.
        beside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
