"""Going on from a checkpoint: to the same bits, or with a word about why not."""

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from models.domain.checkpoints import Kept, Resumed
from models.domain.lifecycle import Wish
from tests.trainings import RICH, SMALL, Book, train_spec
from worker.training import files
from worker.training.checkpoint import read_checkpoint
from worker.training.errors import Cancelled, CheckpointCorrupt, StoreFailed, Suspended
from worker.training.sink import Ended

GO_ON = """
import json, sys
from pathlib import Path
from models.domain.checkpoints import Kept
from tests.trainings import Book, train_spec
spec, folder, checkpoints = json.loads(sys.argv[1])
ended, book = train_spec(
    spec, Path(folder), attempt=2, checkpoints=tuple(Kept(*each) for each in checkpoints)
)
fields = ("iteration", "epoch", "batch", "samples", "loss", "lr", "grad_norm")
print(json.dumps({
    "rows": {name: book.table[name].tolist() for name in fields},
    "epochs": book.epochs,
    "resumed": book.all("resumed")[0],
    "resumed_at": book.all("started")[0]["resumed_at"],
    "weights_sha256": ended.weights_sha256,
    "summary": book.all("summary")[-1],
}))
"""

EVALUATED_LAST = RICH | {"batch_size": 50, "epochs": 3, "checkpoint": {"every_seconds": 1000}}
"""7 batches an epoch, and no checkpoint but one that is asked for."""

WishOf = Callable[[Book], Wish | None]


def kept_in(book: Book) -> tuple[Kept, ...]:
    """The checkpoints that a training told of, newest first."""
    told = [Kept(each["iteration"], each["uri"], each["sha256"]) for each in book.all("checkpoint")]
    return tuple(reversed(told))


def left_off(spec: dict[str, Any], folder: Path, wish: WishOf, error: type[Exception]) -> Book:
    book = Book()
    with pytest.raises(error):
        train_spec(spec, folder, book=book, wish=wish)
    return book


def go_on_elsewhere(spec: dict[str, Any], folder: Path, checkpoints: tuple[Kept, ...]) -> Any:  # noqa: ANN401 - JSON
    told = json.dumps([spec, str(folder), checkpoints])
    done = subprocess.run(
        [sys.executable, "-c", GO_ON, told], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def timeless(epochs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in epoch.items() if "second" not in name} for epoch in epochs
    ]


def assert_it_is_the_rest_of(whole: Book, ended: Ended, rest: Any, at: int) -> None:  # noqa: ANN401 - JSON
    assert rest["resumed_at"] == at
    assert rest["rows"]["iteration"] == list(range(at + 1, len(whole.table) + 1))
    for name, values in rest["rows"].items():
        assert values == whole.table[name].tolist()[at:], name
    assert timeless(rest["epochs"]) == timeless(whole.epochs)[-len(rest["epochs"]) :]
    assert rest["weights_sha256"] == ended.weights_sha256
    assert rest["summary"] == whole.all("summary")[-1]


def test_a_training_that_was_cut_off_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    ended, whole = train_spec(RICH, tmp_path / "whole")

    def cancel_after_a_checkpoint_in_the_second_epoch(book: Book) -> Wish | None:
        made = book.all("checkpoint")
        return Wish.CANCEL if made and made[-1]["iteration"] > 44 else None

    cut = left_off(RICH, tmp_path / "cut", cancel_after_a_checkpoint_in_the_second_epoch, Cancelled)
    newest = kept_in(cut)[0]
    assert "attempt-1" in newest.uri
    assert torch.load(newest.uri, weights_only=True)["state"]["iteration"] == newest.iteration
    rest = go_on_elsewhere(RICH, tmp_path / "cut", (newest,))
    assert_it_is_the_rest_of(whole, ended, rest, newest.iteration)


def test_a_pause_saves_after_the_iteration_and_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    spec = RICH | {"checkpoint": {"every_seconds": 1000}}
    ended, whole = train_spec(spec, tmp_path / "whole")

    def pause_in_the_third_epoch(book: Book) -> Wish | None:
        return Wish.PAUSE if len(book.table) > 100 else None

    cut = left_off(spec, tmp_path / "cut", pause_in_the_third_epoch, Suspended)
    (newest,) = kept_in(cut)
    assert newest.iteration == len(cut.table) > 100
    rest = go_on_elsewhere(spec, tmp_path / "cut", (newest,))
    assert_it_is_the_rest_of(whole, ended, rest, newest.iteration)


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_pause_while_it_evaluates_is_as_good(tmp_path: Path, epoch: int) -> None:
    """Of the last epoch too, which is judged before the test set is measured."""
    ended, whole = train_spec(EVALUATED_LAST, tmp_path / "whole")

    def pause_at_the_epochs_end(book: Book) -> Wish | None:
        phases = book.all("phase")
        evaluating = phases and phases[-1] == ("evaluate", epoch, 7)
        return Wish.PAUSE if evaluating else None

    cut = left_off(EVALUATED_LAST, tmp_path / "cut", pause_at_the_epochs_end, Suspended)
    assert len(cut.epochs) == epoch - 1
    (newest,) = kept_in(cut)
    assert newest.iteration == 7 * epoch
    rest = go_on_elsewhere(EVALUATED_LAST, tmp_path / "cut", (newest,))
    assert rest["resumed"] == [7 * epoch, epoch - 1, True]
    assert_it_is_the_rest_of(whole, ended, rest, newest.iteration)


def test_a_pause_while_it_loads_leaves_at_once(tmp_path: Path) -> None:
    book = left_off(SMALL, tmp_path, lambda _book: Wish.PAUSE, Suspended)
    assert book.told == []


def test_a_stop_that_a_pause_cut_short_is_one_where_it_is_still_wanted(tmp_path: Path) -> None:
    def stop_then_pause(book: Book) -> Wish | None:
        if not len(book.table):
            return None
        phases = book.all("phase")
        return Wish.PAUSE if phases[-1][0] == "evaluate" else Wish.STOP

    cut = left_off(EVALUATED_LAST, tmp_path, stop_then_pause, Suspended)
    (newest,) = kept_in(cut)
    ended, _ = train_spec(
        EVALUATED_LAST, tmp_path, attempt=2, checkpoints=(newest,), wish=lambda _book: Wish.STOP
    )
    assert (ended.stop_reason, ended.iterations) == ("stopped", newest.iteration + 1)
    # Where nobody wants it any more, as after a retry, it is forgotten.
    ended, _ = train_spec(EVALUATED_LAST, tmp_path, attempt=3, checkpoints=(newest,))
    assert (ended.stop_reason, ended.iterations) == ("epochs", 21)


def test_a_rule_that_a_pause_cut_short_is_obeyed_where_it_goes_on(tmp_path: Path) -> None:
    spec = EVALUATED_LAST | {"stop": {"max_iterations": 5}}

    def pause_in_the_last_evaluation(book: Book) -> Wish | None:
        return Wish.PAUSE if "evaluate" in [name for name, _, _ in book.all("phase")] else None

    cut = left_off(spec, tmp_path, pause_in_the_last_evaluation, Suspended)
    (newest,) = kept_in(cut)
    ended, rest = train_spec(spec, tmp_path, attempt=2, checkpoints=(newest,))
    assert (ended.stop_reason, ended.iterations, newest.iteration) == ("max_iterations", 5, 5)
    assert len(rest.table) == 0
    assert [epoch["last_iteration"] for epoch in rest.epochs] == [5]


def test_a_pause_after_an_epochs_end_keeps_what_was_measured_there(tmp_path: Path) -> None:
    """The checkpoint of the pause before was written before that epoch was evaluated."""

    def pause_at_the_first_epochs_end(book: Book) -> Wish | None:
        phases = book.all("phase")
        return Wish.PAUSE if phases and phases[-1] == ("evaluate", 1, 7) else None

    cut = left_off(EVALUATED_LAST, tmp_path, pause_at_the_first_epochs_end, Suspended)
    (first,) = kept_in(cut)
    again = Book()
    with pytest.raises(Suspended):
        train_spec(
            EVALUATED_LAST,
            tmp_path,
            attempt=2,
            checkpoints=(first,),
            book=again,
            wish=lambda book: Wish.PAUSE if book.epochs else None,
        )
    (second,) = kept_in(again)
    assert (second.iteration, len(again.epochs), len(again.table)) == (7, 1, 0)
    _, rest = train_spec(EVALUATED_LAST, tmp_path, attempt=3, checkpoints=(second, first))
    assert rest.all("resumed") == [Resumed(7, 1, like=True)]


def test_half_precision_goes_on_with_its_loss_scale(tmp_path: Path) -> None:
    spec = RICH | {"precision": "fp16", "checkpoint": {"every_seconds": 1000}}
    ended, whole = train_spec(spec, tmp_path / "whole")
    cut = left_off(
        spec,
        tmp_path / "cut",
        lambda book: Wish.PAUSE if len(book.table) > 50 else None,
        Suspended,
    )
    (newest,) = kept_in(cut)
    assert read_checkpoint(newest)["scaler"]["_growth_tracker"] > 0
    rest = go_on_elsewhere(spec, tmp_path / "cut", (newest,))
    assert_it_is_the_rest_of(whole, ended, rest, newest.iteration)


def test_a_checkpoint_is_told_after_the_rows_up_to_it(tmp_path: Path) -> None:
    """Checkpoints come more often than rows are delivered: each brings those that are due."""
    _, book = train_spec(RICH | {"epochs": 12}, tmp_path)
    delivered, checkpoints = 0, 0
    for kind, what in book.told:
        if kind == "rows":
            delivered = int(what["iteration"][-1])
        elif kind == "checkpoint":
            checkpoints += 1
            assert what["iteration"] == delivered
    assert checkpoints > 1


def spoil(checkpoint: Kept) -> None:
    file = Path(checkpoint.uri)
    file.write_bytes(file.read_bytes()[:-1] + b"!")


@pytest.mark.parametrize("harm", ["spoilt", "gone", "cut short"])
def test_a_checkpoint_that_is_no_good_gives_way_to_the_one_before(
    tmp_path: Path, harm: str
) -> None:
    cut = left_off(
        RICH,
        tmp_path,
        lambda book: Wish.CANCEL if len(book.all("checkpoint")) == 2 else None,
        Cancelled,
    )
    newest, before = kept_in(cut)
    if harm == "spoilt":
        spoil(newest)
    elif harm == "gone":
        Path(newest.uri).unlink()
    else:
        Path(newest.uri).write_bytes(Path(newest.uri).read_bytes()[:100])
    _, book = train_spec(RICH, tmp_path, attempt=2, checkpoints=(newest, before))
    (warning,) = book.all("warning")
    assert warning[1]["iteration"] == newest.iteration
    assert book.all("resumed")[0].iteration == before.iteration
    assert book.table["iteration"][0] == before.iteration + 1
    spoil(before)
    _, book = train_spec(RICH, tmp_path, attempt=3, checkpoints=(newest, before))
    assert len(book.all("warning")) == 2
    assert book.all("resumed") == [Resumed(0, 0, like=True)]
    assert book.table["iteration"][0] == 1


def test_a_store_that_does_not_answer_is_no_reason_to_begin_anew(tmp_path: Path) -> None:
    folder = tmp_path / "a folder where the file should be"
    folder.mkdir()
    with pytest.raises(StoreFailed) as failed:
        train_spec(SMALL, tmp_path, attempt=2, checkpoints=(Kept(5, str(folder), "0" * 64),))
    assert failed.value.retryable
    assert not failed.value.missing


def test_a_checkpoint_that_is_not_the_booked_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    torch.save({"format": 99}, file)
    sha256 = files.Store(str(tmp_path), 1).write("copy", file.read_bytes()).sha256
    with pytest.raises(CheckpointCorrupt, match="sha256"):
        read_checkpoint(Kept(1, str(file), "0" * 64))
    with pytest.raises(CheckpointCorrupt, match="format is 99"):
        read_checkpoint(Kept(1, str(file), sha256))
    file.write_bytes(b"no checkpoint at all")
    sha256 = files.Store(str(tmp_path), 1).write("copy", file.read_bytes()).sha256
    with pytest.raises(CheckpointCorrupt):
        read_checkpoint(Kept(1, str(file), sha256))


def test_another_kind_of_machine_is_told_and_remembered(tmp_path: Path) -> None:
    """Two threads instead of one: seen to differ from the second iteration on."""
    cut = left_off(
        RICH,
        tmp_path,
        lambda book: Wish.PAUSE if len(book.table) > 5 else None,
        Suspended,
    )
    first = kept_in(cut)[0]
    spec = RICH | {"threads": 2}
    other = Book()
    with pytest.raises(Suspended):
        train_spec(
            spec,
            tmp_path,
            attempt=2,
            checkpoints=(first,),
            book=other,
            wish=lambda book: Wish.PAUSE if len(book.table) else None,
        )
    message, data = other.all("warning")[0]
    assert "not to the bit" in message
    assert (data["from"]["threads"], data["to"]["threads"]) == (1, 2)
    assert other.all("resumed")[0].like is False
    # What was mixed once stays so, also among machines that are alike.
    second = kept_in(other)[0]
    _, last = train_spec(spec, tmp_path, attempt=3, checkpoints=(second, first))
    assert last.all("warning") == []
    assert last.all("resumed")[0].like is False


def test_a_full_disk_costs_a_checkpoint_and_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file system refuses from the second checkpoint on, as a full one does."""
    fsync, written = os.fsync, []

    def refuse(handle: int) -> None:
        name = Path(f"/proc/self/fd/{handle}").readlink().name
        if name.startswith(".checkpoint"):
            written.append(name)
            if len(written) > 1:
                raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", refuse)
    ended, book = train_spec(RICH, tmp_path)
    assert ended.iterations == 264
    assert len(written) > 2
    assert len(book.all("checkpoint")) == 1
    ((message, data),) = book.all("warning")
    assert "could not be written" in message
    assert "No space left" in data["reason"]
    assert not list(tmp_path.rglob(".*.part"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte; left out with a word where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount") or "mount"
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run([shutil.which("umount") or "umount", str(folder)], check=True)


def test_a_disk_that_is_really_full_leaves_the_last_good_checkpoint_to_go_on_from(
    small_disk: Path, tmp_path: Path
) -> None:
    ended, whole = train_spec(RICH, tmp_path / "whole")

    def fill_the_disk(book: Book) -> Wish | None:
        if book.all("checkpoint") and not (small_disk / "filler").exists():
            with contextlib.suppress(OSError), (small_disk / "filler").open("wb") as filler:
                while True:
                    filler.write(bytes(4096))
        return None

    cut = Book()
    # The weights at the end find no room either: that is an error which another try may not meet.
    with pytest.raises(StoreFailed, match="No space left") as failed:
        train_spec(RICH, small_disk, book=cut, wish=fill_the_disk)
    assert failed.value.retryable
    assert len(cut.table) == len(whole.table)
    ((_, data),) = cut.all("warning")
    assert "No space left" in data["reason"]
    assert not list(small_disk.rglob(".*.part"))
    (small_disk / "filler").unlink()
    newest = kept_in(cut)[0]
    again, rest = train_spec(RICH, small_disk, attempt=2, checkpoints=kept_in(cut))
    assert rest.all("resumed")[0].iteration == newest.iteration
    assert rest.losses == whole.losses[newest.iteration :]
    assert again.weights_sha256 == ended.weights_sha256
