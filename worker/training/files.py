"""Files of a job: written whole or not at all, named by attempt, told by their hash."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
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
            StoreFailed: names the place and what the store said.

        """
        uri = f"{self.artifacts_url.rstrip('/')}/attempt-{self.attempt}/{name}"
        local = _local_path(uri)
        with _answering(uri):
            if local is None:
                with fsspec.open(uri, "wb") as file:
                    file.write(content)
            else:
                _write_local(local, content)
        return Stored(str(local or uri), hashlib.sha256(content).hexdigest(), len(content))


def read(uri: str) -> bytes:
    """Return a file's bytes.

    Raises:
        StoreFailed: it is not there or cannot be read.

    """
    with _answering(uri):
        try:
            with fsspec.open(uri, "rb") as file:
                content: bytes = file.read()
        except FileNotFoundError as failure:
            raise StoreFailed(uri, str(failure), missing=True) from failure
    return content


@contextlib.contextmanager
def _answering(uri: str) -> Iterator[None]:
    """Give whatever a store raises as StoreFailed.

    To fsspec errors are the back end's: botocore's, for one, are no OSErrors. A local path has
    no errors of its own, so anything else there is a mistake of ours. Want of memory is this
    host's.
    """
    try:
        yield
    except (StoreFailed, MemoryError):
        raise
    except OSError as failure:
        raise StoreFailed(uri, str(failure)) from failure
    except Exception as failure:
        if _local_path(uri) is not None:
            raise
        raise StoreFailed(uri, f"{type(failure).__name__}: {failure}") from failure


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
