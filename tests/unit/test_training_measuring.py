"""Evaluation held against scikit-learn, files that are whole, rows that come in order."""

import hashlib
import math
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sklearn.metrics import (
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)
from torch import Tensor, nn

from models.rows import ROW_DTYPE
from tests.trainings import Book
from worker.training.buffer import ScalarBuffer
from worker.training.data.loading import Split
from worker.training.environment import code_revision
from worker.training.errors import Diverged, StoreFailed
from worker.training.evaluation import evaluate, report
from worker.training.files import Store, read
from worker.training.learner import Update
from worker.training.losses import Loss
from worker.training.recorder import Recorder
from worker.training.state import LoopState
from worker.training.stopwatch import stopwatch_of

CPU = torch.device("cpu")


@pytest.mark.parametrize("batch_size", [7, 100])
def test_an_evaluation_is_scikit_learns(batch_size: int) -> None:
    torch.manual_seed(0)
    classes = 12
    labels = torch.randint(classes, (100,))
    outputs = torch.randn(100, classes) + 2 * nn.functional.one_hot(labels, classes)
    loss = Loss({"name": "cross_entropy", "label_smoothing": 0.0, "weight": None}, labels, classes)
    signs: list[None] = []
    measured = evaluate(
        nn.Identity(),
        Split(outputs, labels),
        loss,
        lambda images: images,
        batch_size=batch_size,
        alive=lambda: signs.append(None),
    )
    answers = outputs.argmax(1)
    figures = report(measured)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, answers, zero_division=0
    )
    assert figures["confusion_matrix"] == confusion_matrix(labels, answers).tolist()
    for place, figure in enumerate(figures["classes"]):
        assert figure["precision"] == pytest.approx(precision[place])
        assert figure["recall"] == pytest.approx(recall[place])
        assert figure["f1"] == pytest.approx(f1[place])
        assert figure["support"] == support[place]
    assert figures["accuracy"] == pytest.approx((answers == labels).float().mean().item())
    probabilities = outputs.softmax(1).double()
    assert figures["loss"] == pytest.approx(
        log_loss(labels, probabilities / probabilities.sum(1, keepdim=True)), rel=1e-5
    )
    assert figures["top5_accuracy"] == pytest.approx(top_k_accuracy_score(labels, outputs, k=5))
    assert measured.batches == len(signs) == math.ceil(100 / batch_size)


def test_a_stored_file_is_whole_and_told_by_its_hash(tmp_path: Path) -> None:
    stored = Store(str(tmp_path / "job"), 3).write("weights.bin", b"content")
    assert stored.uri == str(tmp_path / "job" / "attempt-3" / "weights.bin")
    assert read(stored.uri) == b"content"
    assert stored.sha256 == hashlib.sha256(b"content").hexdigest()
    assert stored.bytes == 7
    assert [path.name for path in Path(stored.uri).parent.iterdir()] == ["weights.bin"]


def test_a_store_may_be_any_file_system_that_fsspec_knows() -> None:
    stored = Store("memory://bucket/job", 1).write("weights.bin", b"content")
    assert stored.uri == "memory://bucket/job/attempt-1/weights.bin"
    assert read(stored.uri) == b"content"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "job").write_text("a file where the folder should be")
    with pytest.raises(StoreFailed, match="job/attempt-1") as caught:
        Store(str(tmp_path / "job"), 1).write("weights.bin", b"")
    assert caught.value.retryable


def test_the_code_revision_is_read_from_a_checkout(tmp_path: Path) -> None:
    git = tmp_path / ".git"
    git.mkdir()
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert code_revision(tmp_path) is None
    (git / "packed-refs").write_text("# pack-refs\nabc123 refs/heads/main\n")
    assert code_revision(tmp_path) == "abc123"
    (git / "HEAD").write_text("def456\n")
    assert code_revision(tmp_path) == "def456"


def update(loss: float, skipped: float | None = None) -> Update:
    return Update(
        loss=torch.tensor(loss),
        correct=torch.tensor(3),
        grad_norm=None,
        skipped=None if skipped is None else torch.tensor(skipped),
        layers=torch.full((1, 4), loss, dtype=torch.float64),
    )


def reading(_values: Tensor) -> list[dict[str, object]]:
    return [{"layer": "conv1", "error_norm": 1.0, "grad_norm": None, "update_ratio": None}]


def recorded(book: Book, *, fail: bool, losses: list[Update]) -> tuple[Recorder, LoopState]:
    buffer = ScalarBuffer(64, CPU)
    recorder = Recorder(
        book, stopwatch_of(CPU), buffer, reading, fail_on_non_finite=fail, scaled=False
    )
    state = LoopState()
    for measured in losses:
        state.iteration += 1
        state.batch += 1
        recorder.record(state, 10, 0.5, measured)
    return recorder, state


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_loss_that_is_not_finite_ends_the_book(bad: float) -> None:
    book = Book()
    updates = [update(1.0), update(2.0), update(bad), update(3.0)]
    recorder, state = recorded(book, fail=True, losses=updates)
    with pytest.raises(Diverged) as caught:
        recorder.deliver(state)
    assert caught.value.iteration == 3
    assert not math.isfinite(caught.value.loss)
    assert book.table["iteration"].tolist() == [1, 2, 3]
    assert [iteration for iteration, _ in book.all("layers")] == [1, 2, 3]
    assert not caught.value.retryable


def test_every_nan_is_booked_with_the_bits_that_its_word_is_read_back_as() -> None:
    book = Book()
    born = struct.unpack("<d", bytes.fromhex("000000000000f8ff"))[0]
    measured = replace(update(born), grad_norm=torch.tensor(born))
    recorder, state = recorded(book, fail=False, losses=[measured])
    recorder.deliver(state)
    for name in ("loss", "grad_norm"):
        assert book.table[name].tobytes() == struct.pack("<d", float("NaN"))


def test_numbers_read_at_once_are_those_that_stay_on_the_device_until_they_are_taken() -> None:
    buffers = [ScalarBuffer(64, CPU, at_once=at_once) for at_once in (True, False)]
    losses = [0.1, math.nan, math.inf, 3e-39]
    for iteration, loss in enumerate(losses, start=1):
        norm = torch.tensor(loss / 3) if iteration % 2 else None
        skipped = torch.tensor(1.0) if iteration == 4 else None
        row = (iteration, 1, iteration, 8, 0.5)
        for buffer in buffers:
            buffer.write(row, torch.tensor(loss), torch.tensor(iteration), norm, skipped)
    taken = [buffer.take() for buffer in buffers]
    first, second = (each for each in taken if each is not None)
    for name in ROW_DTYPE.names or ():
        if name != "seconds":
            assert first.rows[name].tobytes() == second.rows[name].tobytes()
    assert first.rows["has_grad_norm"].tolist() == [True, False, True, False]
    assert first.rows["loss"].tolist()[0] == torch.tensor(0.1).item()
    assert first.correct.tolist() == second.correct.tolist() == [1, 2, 3, 4]
    assert first.skipped.tolist() == second.skipped.tolist() == [0, 0, 0, 1]
    assert all(buffer.take() is None for buffer in buffers)


def test_training_may_go_on_after_it_with_one_warning() -> None:
    book = Book()
    recorder, state = recorded(book, fail=False, losses=[update(1.0), update(math.nan)])
    recorder.deliver(state)
    recorder.record(state, 10, 0.5, update(math.inf))
    recorder.deliver(state)
    assert len(book.table) == 3
    assert [data for _, data in book.all("warning")] == [{"iteration": 2}]


def test_a_skipped_update_is_no_divergence() -> None:
    book = Book()
    recorder, state = recorded(book, fail=True, losses=[update(math.inf, skipped=1.0), update(1.0)])
    recorder.deliver(state)
    assert state.sums.skipped == 1
    assert len(book.table) == 2


def test_ten_skipped_updates_in_a_row_without_a_finite_loss_are_a_divergence() -> None:
    book = Book()
    lost, finite = update(math.nan, skipped=1.0), update(1.0, skipped=1.0)
    recorder, state = recorded(book, fail=True, losses=[*[lost] * 9, finite, *[lost] * 5])
    recorder.deliver(state)
    for _ in range(6):
        state.iteration += 1
        recorder.record(state, 10, 0.5, lost)
    with pytest.raises(Diverged) as caught:
        recorder.deliver(state)
    assert caught.value.iteration == len(book.table) == 20


def test_skipped_updates_with_finite_losses_never_are() -> None:
    book = Book()
    recorder, state = recorded(book, fail=True, losses=[update(1.0, skipped=1.0)] * 30)
    recorder.deliver(state)
    assert len(book.table) == 30


def test_an_epochs_sums_do_not_depend_on_when_rows_were_delivered() -> None:
    updates = [update(0.1 * number) for number in range(1, 40)]
    whole, state = recorded(Book(), fail=True, losses=updates)
    whole.deliver(state)
    one_by_one, other = recorded(Book(), fail=True, losses=[])
    for measured in updates:
        other.iteration += 1
        one_by_one.record(other, 10, 0.5, measured)
        one_by_one.deliver(other)
    assert state.sums.loss == other.sums.loss
    assert state.sums.correct == other.sums.correct == 3 * 39
