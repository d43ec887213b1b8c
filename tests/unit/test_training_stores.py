"""A store with errors of its own: it costs a checkpoint, and is no proof that a file is gone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from tests.trainings import SMALL, Book, Wants, make_request
from worker.training.errors import StoreFailed
from worker.training.files import Store, read
from worker.training.trainer import train

SPEC = SMALL | {"epochs": 40, "checkpoint": {"every_seconds": 0.1}}


class Throttled(Exception):
    """No OSError, as botocore's are none."""


class Moody(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Keeps what it takes, and refuses what has a word in its name."""

    protocol = "moody"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    refused = "checkpoint"
    error: ClassVar[type[BaseException]] = Throttled

    def _open(self, path: str, *rest: Any, **named: Any) -> Any:  # noqa: ANN401 - fsspec has no types
        if self.refused in path:
            raise self.error("slow down")
        return super()._open(path, *rest, **named)


@pytest.fixture(autouse=True)
def moody() -> Iterator[None]:
    fsspec.register_implementation("moody", Moody)
    yield
    Moody.store.clear()
    _registry.pop("moody")


def test_a_store_with_errors_of_its_own_costs_a_checkpoint_and_no_training(tmp_path: Path) -> None:
    request = replace(make_request(SPEC, tmp_path), artifacts_url="moody://bucket/job")
    book = Book()
    ended = train(request, book, Wants(book, lambda _book: None))
    assert ended.iterations == len(book.table) == 280
    assert book.all("checkpoint") == []
    ((message, data),) = book.all("warning")
    assert "could not be written" in message
    assert "Throttled: slow down" in data["reason"]
    assert read(book.artifacts["weights.safetensors"]["uri"])


def test_it_is_no_proof_that_a_file_is_gone() -> None:
    with pytest.raises(StoreFailed, match="slow down") as failed:
        read("moody://bucket/checkpoint")
    assert not failed.value.missing
    with pytest.raises(StoreFailed) as failed:
        read("moody://bucket/gone")
    assert failed.value.missing


def test_a_place_that_no_store_here_knows_may_be_known_elsewhere() -> None:
    with pytest.raises(StoreFailed, match="nowhere") as failed:
        Store("nowhere://bucket/job", 1).write("weights.bin", b"")
    assert failed.value.retryable
    assert not failed.value.missing


def test_want_of_memory_is_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Moody, "error", MemoryError)
    with pytest.raises(MemoryError):
        read("moody://bucket/checkpoint")


def test_a_mistake_of_ours_is_not_put_down_to_a_disk(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        Store(str(tmp_path), 1).write("weights.bin", "no bytes")  # type: ignore[arg-type]
