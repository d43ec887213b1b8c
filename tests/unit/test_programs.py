"""A program and what it reports to: rows, epochs, metrics, checkpoints, and what is wanted."""

import difflib
import itertools
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models.domain.lifecycle import StopReason, Wish
from models.domain.metrics import MetricKind
from tests.installed import EXAMPLE, write_package
from tests.processes import ROOT
from tests.programs import call, kept_in, program_spec
from tests.trainings import Book
from worker.training.errors import (
    Cancelled,
    EntryPointMissing,
    EntryPointRefused,
    EntryPointUnfit,
    ProgramMisused,
    Suspended,
)

TRAIN = program_spec(
    "team_vision.train:main", options={"epochs": 3}, checkpoint={"every_seconds": 1000}, seed=7
)
"""16 batches an epoch: 48 iterations."""

pytestmark = pytest.mark.usefixtures("team_vision")


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for a package of a test's own, which is imported anew, and by nobody after it."""
    monkeypatch.syspath_prepend(str(tmp_path / "odd"))
    yield tmp_path / "odd"
    for name in [name for name in sys.modules if name.startswith("team_odd")]:
        del sys.modules[name]


def run(odd: Path, folder: Path, text: str, **more: Any) -> tuple[Any, Book]:  # noqa: ANN401 - fields of TrainRequest
    """Write a program and call its `main`."""
    write_package(odd, "team_odd", odd=f"import torch\n{text}")
    spec = program_spec("team_odd.odd:main", checkpoint={"every_seconds": 1000})
    return call(spec, folder, **more)


def once_begun(book: Book) -> Wish | None:
    return Wish.PAUSE if book.all("resumed") else None


def test_a_script_that_became_a_program_is_in_the_book(tmp_path: Path) -> None:
    ended, book = call(TRAIN, tmp_path)
    assert (ended.stop_reason, ended.iterations) == (StopReason.RETURNED, 48)
    table = book.table
    assert table["iteration"].tolist() == list(range(1, 49))
    assert table["epoch"].tolist() == [1] * 16 + [2] * 16 + [3] * 16
    assert table["batch"].tolist() == list(range(1, 17)) * 3
    assert set(table["samples"].tolist()) == {16}
    assert set(table["lr"].tolist()) == {0.01}
    assert not table["has_grad_norm"].any()
    for number, epoch in enumerate(book.epochs, start=1):
        losses = table["loss"][table["epoch"] == number]
        assert epoch["epoch"] == number
        assert epoch["train_loss"] == pytest.approx(losses.mean())
        assert (epoch["first_iteration"], epoch["last_iteration"]) == (
            16 * number - 15,
            16 * number,
        )
        assert 0 <= epoch["test_accuracy"] <= 1
    summary = book.all("summary")[-1]
    assert summary["final_loss"] == table["loss"][-1]
    assert summary["best"]["metric"] == "train_loss"
    (weights,) = book.all("artifact")
    assert weights["sha256"] == ended.weights_sha256
    assert load_file(weights["uri"])["0.weight"].shape == (8, 1, 3, 3)


def test_its_losses_are_the_scripts_own(tmp_path: Path) -> None:
    _, book = call(TRAIN, tmp_path)
    names: dict[str, Any] = {}
    text = (EXAMPLE / "plain.py").read_text()
    text = text.replace("loss.backward()", "loss.backward(); LOSSES.append(loss.item())")
    exec(compile(text, "plain.py", "exec"), names)  # noqa: S102 - what a person wrote
    names["LOSSES"] = []
    torch.manual_seed(7)
    names["main"](epochs=3)
    assert book.losses == names["LOSSES"]


def test_a_script_becomes_a_program_in_under_ten_lines_as_the_page_shows() -> None:
    plain = (EXAMPLE / "plain.py").read_text().splitlines()
    program = (EXAMPLE / "team_vision" / "train.py").read_text().splitlines()
    changes = list(difflib.unified_diff(plain, program, lineterm="", n=2))[2:]
    assert sum(line.startswith("+") for line in changes) < 10
    page = (ROOT / "docs" / "programs.md").read_text()
    shown = re.search(r"```diff\n(.*?)```", page, re.DOTALL)
    assert shown is not None
    assert [line.rstrip() for line in shown[1].splitlines()] == [line.rstrip() for line in changes]


def test_what_was_paused_at_a_checkpoint_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    ended, whole = call(TRAIN, tmp_path / "whole")
    first = Book()
    with pytest.raises(Suspended):
        call(
            TRAIN,
            tmp_path / "cut",
            book=first,
            wish=lambda book: Wish.PAUSE if len(book.table) >= 1 else None,
        )
    (kept,) = kept_in(first)
    assert kept.iteration == 16
    again, rest = call(TRAIN, tmp_path / "cut", attempt=2, checkpoints=(kept,))
    assert (rest.all("resumed")[0].iteration, rest.all("resumed")[0].epochs) == (16, 1)
    assert first.losses + rest.losses == whole.losses
    assert rest.table["iteration"].tolist() == list(range(17, 49))
    assert again.weights_sha256 == ended.weights_sha256
    assert rest.all("summary")[-1] == whole.all("summary")[-1]
    assert not rest.all("warning")


def test_a_stop_lets_it_come_to_its_end(tmp_path: Path) -> None:
    ended, book = call(
        TRAIN, tmp_path, wish=lambda book: Wish.STOP if len(book.table) >= 1 else None
    )
    assert (ended.stop_reason, ended.iterations) == (StopReason.STOPPED, 16)
    assert len(book.epochs) == 1


def test_a_cancel_ends_it_at_its_next_word_and_all_it_told_is_there(
    odd: Path, tmp_path: Path
) -> None:
    text = """
def main(run):
    for number in range(1, 100):
        try:
            run.iteration(loss=float(number), samples=1)
        except Exception:
            pass
    run.epoch()
"""
    book = Book()
    with pytest.raises(Cancelled):
        run(
            odd,
            tmp_path,
            text,
            book=book,
            wish=lambda book: Wish.CANCEL if len(book.table) >= 1 else None,
        )
    # It caught what it should have let pass, and told no more.
    assert book.losses == [1.0]
    assert not book.epochs


def test_a_pause_that_was_caught_is_still_one(odd: Path, tmp_path: Path) -> None:
    text = """
def main(run):
    run.iteration(loss=1.0, samples=1)
    try:
        run.checkpoint(numbers=[1, 2])
    except Exception:
        pass
"""
    book = Book()
    with pytest.raises(Suspended):
        run(odd, tmp_path, text, book=book, wish=once_begun)
    assert [each.iteration for each in kept_in(book)] == [1]


EVERYTHING = """
def main(run):
    assert (run.device, run.seed, run.threads, run.attempt) == ("cpu", 0, 1, 1)
    assert run.resume() == {}
    loss = torch.tensor([2.0], requires_grad=True)
    run.iteration(loss=loss, samples=3, grad_norm=torch.tensor(1.5))
    run.metric("f1", torch.tensor(0.5))
    run.metric("speed", 3)
    run.alive()
    run.iteration(loss=float("nan"), samples=1, lr=0.1)
    run.metric("f1", 0.25)
    run.epoch(val_loss=torch.tensor(0.75), train_accuracy=0.5, perplexity=7.0)
    run.iteration(loss=1, samples=2)
    run.epoch(train_loss=0.125, val_loss=0.5)
    run.iteration(loss=4.0, samples=2)
    assert (run.iterations_done, run.epochs_done, run.should_stop) == (4, 2, False)
"""


def test_everything_that_can_be_told(odd: Path, tmp_path: Path) -> None:
    ended, book = run(odd, tmp_path, EVERYTHING)
    assert ended.weights_sha256 is None
    table = book.table
    assert table["loss"].tolist()[0::2] == [2.0, 1.0]
    assert math.isnan(table["loss"][1])
    assert table["grad_norm"][0] == 1.5
    assert table["has_grad_norm"].tolist() == [True, False, False, False]
    assert table["samples"].tolist() == [3, 1, 2, 2]
    assert [math.isnan(lr) for lr in table["lr"]] == [True, False, True, True]
    assert book.all("metrics") == [
        (1, {"f1": 0.5}, MetricKind.ITERATION),
        (1, {"speed": 3.0}, MetricKind.ITERATION),
        (2, {"f1": 0.25}, MetricKind.ITERATION),
        (2, {"perplexity": 7.0}, MetricKind.EPOCH),
    ]
    first, second, last = book.epochs
    assert math.isnan(first["train_loss"])
    assert (first["train_accuracy"], first["val_loss"], first["samples"]) == (0.5, 0.75, 4)
    assert (second["train_loss"], second["val_loss"], second["batches"]) == (0.125, 0.5, 1)
    # What was told after the last epoch is one, too.
    assert (last["train_loss"], last["val_loss"]) == (4.0, None)
    assert book.all("summary")[-1] == {
        "final_loss": 4.0,
        "best_loss": 0.125,
        "train_loss": 4.0,
        "train_accuracy": None,
        "val_loss": 0.5,
        "val_accuracy": None,
        "test_loss": None,
        "test_accuracy": None,
        "best": {"metric": "val_loss", "value": 0.5, "epoch": 2, "iteration": 3},
    }
    assert [message for message, _ in book.all("warning")] == [
        "a loss is not finite; training goes on"
    ]


KEEPING = """
class Counter:
    def __init__(self): self.count = 0
    def state_dict(self): return {"count": self.count}
    def load_state_dict(self, state): self.count = state["count"]

def main(run):
    counter = Counter()
    values = run.resume(counter=counter)
    best = values.get("best", 9.0)
    assert counter.count == run.iterations_done
    if run.attempt == 2:
        assert (counter.count, best, values["table"]["a"].tolist()) == (5, 5.0, [1, 2])
        assert torch.rand(()) == values["next"]
    while run.iterations_done < 8:
        counter.count += 1
        run.iteration(loss=float(counter.count), samples=1)
        state = torch.get_rng_state()
        following = torch.rand(())
        torch.set_rng_state(state)
        run.checkpoint(
            counter=counter, best=float(counter.count), table={"a": torch.tensor([1, 2])},
            next=following,
        )
"""


def test_objects_get_their_states_back_and_values_are_returned(odd: Path, tmp_path: Path) -> None:
    book = Book()
    asked = itertools.count()

    def wish(_book: Book) -> Wish | None:
        return Wish.PAUSE if next(asked) > 9 else None

    with pytest.raises(Suspended):
        run(odd, tmp_path, KEEPING, book=book, wish=wish)
    kept = kept_in(book)
    assert len(kept) == 1
    at = kept[0].iteration
    write_package(
        odd, "team_odd", odd=f"import torch\n{KEEPING}".replace("(5, 5.0,", f"({at}, {at}.0,")
    )
    sys.modules.pop("team_odd.odd")
    spec = program_spec("team_odd.odd:main")
    _, rest = call(spec, tmp_path, attempt=2, checkpoints=kept)
    assert book.losses + rest.losses == [float(number) for number in range(1, 9)]


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        ("run.iteration(loss=torch.ones(2), samples=1)", ProgramMisused, r"one number, not \[2\]"),
        ("run.iteration(loss=1.0, samples=-1)", ProgramMisused, "from 0, not -1"),
        ("run.iteration(loss=1.0, samples=2**40)", ProgramMisused, "not 1099511627776"),
        ("run.iteration(loss=1.0, samples=3.7)", ProgramMisused, "not 3.7"),
        ("run.iteration(loss=1.0, samples=float('nan'))", ProgramMisused, "not nan"),
        ("run.iteration(loss='much', samples=1)", ValueError, "much"),
        ("run.iteration(1.0)", TypeError, "positional"),
        ("run.epoch()", ProgramMisused, "no iteration since"),
        ("run.metric('f1', 1.0)", ProgramMisused, "no iteration yet"),
        ("run.iteration(loss=1, samples=1); run.resume()", ProgramMisused, "reported already"),
        ("run.checkpoint(what=object())", None, ""),
        ("raise SystemExit(0)", SystemExit, "0"),
        ("raise KeyboardInterrupt(1)", KeyboardInterrupt, "1"),
        ("raise MemoryError", Exception, "the host has no memory left"),
    ],
)
def test_what_cannot_be_booked_is_named(
    odd: Path, tmp_path: Path, body: str, error: type[BaseException] | None, words: str
) -> None:
    if error is None:
        run(odd, tmp_path, f"def main(run):\n    {body}\n")
        return
    with pytest.raises(error, match=words):
        run(odd, tmp_path, f"def main(run):\n    {body}\n")


TOLD_WRONGLY = """
def main(run):
    wrong = [("lr", "x"), ("loss", "x"), ("grad_norm", "x"), ("samples", 3.7), ("samples", "x")]
    for name, value in wrong:
        run.iteration(loss=1.0, samples=1)
        try:
            run.iteration(**{"loss": 2.0, "samples": 2, name: value})
        except Exception:
            continue
        raise AssertionError(name)
    run.iteration(loss=1.0, samples=3.0)
"""


def test_an_iteration_that_was_refused_does_not_count(odd: Path, tmp_path: Path) -> None:
    ended, book = run(odd, tmp_path, TOLD_WRONGLY)
    assert ended.iterations == 6
    assert book.table["iteration"].tolist() == [1, 2, 3, 4, 5, 6]
    assert book.table["samples"].tolist() == [1, 1, 1, 1, 1, 3]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("team_odd.odd:absent", EntryPointMissing),
        ("team_odd.absent:main", EntryPointMissing),
        ("subprocess:run", EntryPointRefused),
        ("team_odd.odd:torch", EntryPointUnfit),
    ],
)
def test_a_program_is_found_as_any_entry_point_is(
    odd: Path, tmp_path: Path, name: str, error: type[Exception]
) -> None:
    write_package(odd, "team_odd", odd="import torch")
    with pytest.raises(error):
        call(program_spec(name), tmp_path)


def test_a_checkpoint_that_could_not_be_read_again_is_told_when_it_is_made(
    odd: Path, tmp_path: Path
) -> None:
    text = """
class Own: ...
def main(run):
    run.iteration(loss=1.0, samples=1)
    run.checkpoint(own=Own())
"""
    with pytest.raises(EntryPointUnfit, match="more than tensors and plain values"):
        run(odd, tmp_path, text, wish=once_begun)


def test_a_later_checkpoint_that_could_not_be_read_again_is_told_too(
    odd: Path, tmp_path: Path
) -> None:
    text = """
import numpy
def main(run):
    best = 0.0
    while run.iterations_done < 5:
        run.iteration(loss=1.0, samples=1)
        while not run.checkpoint_due: run.alive()
        run.checkpoint(best=best, more={"table": [best, 1]})
        if run.iterations_done == 3: best = numpy.float64(0.5)
"""
    book = Book()
    write_package(odd, "team_odd", odd=text)
    spec = program_spec("team_odd.odd:main", checkpoint={"every_seconds": 0.1})
    with pytest.raises(EntryPointUnfit, match=r"best is a numpy\.float64"):
        call(spec, tmp_path, book=book)
    assert [each.iteration for each in kept_in(book)] == [3, 2, 1]


def test_a_checkpoint_without_what_is_asked_for_is_named(odd: Path, tmp_path: Path) -> None:
    book = Book()
    text = "def main(run):\n    run.iteration(loss=1.0, samples=1)\n    run.checkpoint(a=1)\n"
    with pytest.raises(Suspended):
        run(odd, tmp_path, text, book=book, wish=once_begun)
    write_package(odd, "team_odd", odd="def main(run):\n    run.resume(b={})\n")
    sys.modules.pop("team_odd.odd")
    with pytest.raises(ProgramMisused, match="holds no b"):
        call(program_spec("team_odd.odd:main"), tmp_path, attempt=2, checkpoints=kept_in(book))
