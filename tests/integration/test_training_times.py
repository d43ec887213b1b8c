"""Where an epoch's time went: the parts, and that they are parts of it."""

import time
from multiprocessing import Pipe
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch

from models.domain.checkpoints import Kept
from models.domain.lifecycle import Wish
from models.rows import Rows
from tests.trainings import RICH, SMALL, Book, train_spec
from tests.waiting import wait_until
from worker.sending import PipeSink
from worker.training.errors import Suspended
from worker.training.state import EpochSums, LoopState, Spent
from worker.training.stopwatch import Stopwatch, stopwatch_of

PARTS = ("data", "forward", "backward", "update")
CPU = torch.device("cpu")


def seconds_of(epoch: dict[str, Any], *parts: str) -> float:
    return sum(float(epoch[f"{part}_seconds"]) for part in parts)


@pytest.mark.parametrize("micro_batch_size", [None, 3])
def test_the_parts_of_an_epoch_are_nearly_all_of_it(
    micro_batch_size: int | None, tmp_path: Path
) -> None:
    spec = RICH | {"micro_batch_size": micro_batch_size, "epochs": 3}
    _, book = train_spec(spec | {"checkpoint": {"every_seconds": 1000}}, tmp_path)
    for epoch in book.epochs:
        assert all(epoch[f"{part}_seconds"] > 0 for part in PARTS)
        assert epoch["evaluation_seconds"] > 0
        assert epoch["checkpoint_seconds"] == 0
        parts = seconds_of(epoch, *PARTS)
        assert 0.7 * epoch["seconds"] < parts <= epoch["seconds"]


class Slow(Book):
    """Takes nothing for a while, as a supervisor whose database is away."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def rows(self, rows: Rows) -> None:
        super().rows(rows)
        due = time.monotonic() + self._seconds
        wait_until(lambda: time.monotonic() >= due, 10, "the rows are taken")
        self.waited_seconds += self._seconds


def test_waiting_is_told_apart_from_computing(tmp_path: Path) -> None:
    slow = Slow(0.05)
    _, book = train_spec(SMALL, tmp_path, book=slow)
    for number, epoch in enumerate(book.epochs, start=1):
        deliveries = [rows for rows in book.all("rows") if rows["epoch"][0] == number]
        assert deliveries
        assert epoch["waiting_seconds"] == pytest.approx(0.05 * len(deliveries))
        assert seconds_of(epoch, *PARTS) <= epoch["seconds"]


def test_a_pipe_that_nobody_reads_counts_as_waiting() -> None:
    reader, writer = Pipe(duplex=False)
    sink = PipeSink(writer)
    book = {"text": "x" * 4_000_000}

    def late() -> None:
        assert reader.poll(10)
        due = time.monotonic() + 0.2
        wait_until(lambda: time.monotonic() >= due, 10, "the pipe was full for a while")
        reader.recv_bytes()

    thread = Thread(target=late)
    thread.start()
    sink.warning("large", book)
    thread.join()
    assert sink.waited_seconds >= 0.2


def test_checkpoints_are_counted_where_they_are_written(tmp_path: Path) -> None:
    spec = SMALL | {"checkpoint": {"every_seconds": 0.1}, "epochs": 40}
    _, book = train_spec(spec, tmp_path)
    written = {checkpoint["iteration"] for checkpoint in book.all("checkpoint")}
    assert written
    for epoch in book.epochs:
        # One that is written after an epoch's last iteration comes after its row.
        within = range(epoch["first_iteration"] - 1, epoch["last_iteration"])
        assert (epoch["checkpoint_seconds"] > 0) == bool(written & set(within))


def test_an_epoch_that_was_interrupted_has_all_of_its_time(tmp_path: Path) -> None:
    first = Book()

    def pause(book: Book) -> Wish | None:
        return Wish.PAUSE if len(book.table) >= 50 else None

    with pytest.raises(Suspended):
        train_spec(RICH, tmp_path, book=first, wish=pause)
    *_, kept = first.all("checkpoint")
    checkpoint = Kept(kept["iteration"], kept["uri"], kept["sha256"])
    _, second = train_spec(RICH, tmp_path, attempt=2, checkpoints=(checkpoint,))
    cut = next(e for e in second.epochs if e["last_iteration"] > kept["iteration"])
    assert cut["first_iteration"] <= kept["iteration"]
    assert 0.7 * cut["seconds"] < seconds_of(cut, *PARTS) <= cut["seconds"]


class Ticks:
    """A device's clock that goes on by one with each mark, as events that are read later do."""

    def __init__(self) -> None:
        self.marks = 0

    def now(self) -> int:
        self.marks += 1
        return self.marks

    @staticmethod
    def between(began: int, ended: int) -> float:
        return float(ended - began)


def go(watch: Stopwatch, sums: EpochSums, batches: int) -> None:
    for batch in range(1, batches + 1):
        watch.begin(batch)
        for part in (Spent.DATA, Spent.FORWARD, Spent.BACKWARD, Spent.FORWARD, Spent.UPDATE):
            watch.lap(part)
        sums.batches += 1
    watch.fold(sums)


def test_a_sample_of_batches_stands_for_all_of_them() -> None:
    ticks, sums = Ticks(), EpochSums()
    watch = Stopwatch(ticks.now, ticks.between, 16)
    go(watch, sums, 40)
    # Batches 1, 17 and 33: six marks each.
    assert (sums.sampled, ticks.marks) == (3, 18)
    spent = {part: sums.spent_on(part) for part in Spent}
    assert spent == {
        Spent.DATA: 40.0,
        Spent.FORWARD: 80.0,
        Spent.BACKWARD: 40.0,
        Spent.UPDATE: 40.0,
        Spent.WAITING: 0.0,
        Spent.EVALUATION: 0.0,
        Spent.CHECKPOINT: 0.0,
    }


def test_nothing_is_made_up_where_nothing_was_measured() -> None:
    sums = EpochSums(batches=7)
    assert sums.spent_on(Spent.FORWARD) is None
    assert sums.spent_on(Spent.EVALUATION) == 0.0


def test_what_was_spent_is_in_a_checkpoint_and_may_be_missing_in_an_old_one() -> None:
    state = LoopState()
    go(stopwatch_of(CPU), state.sums, 3)
    state.sums.spend(Spent.CHECKPOINT, 1.5)
    again = LoopState.from_plain(state.to_plain())
    assert again.sums == state.sums
    old = state.to_plain()
    del old["sums"]["spent"], old["sums"]["sampled"]
    assert LoopState.from_plain(old).sums.spent_on(Spent.CHECKPOINT) == 0.0


@pytest.mark.parametrize("count", [1, 5])
def test_the_clock_of_a_cpu_takes_every_batch_apart(count: int) -> None:
    sums = EpochSums()
    go(stopwatch_of(CPU), sums, count)
    assert sums.sampled == count
    assert all((sums.spent_on(part) or 0) > 0 for part in (Spent.DATA, Spent.UPDATE))
