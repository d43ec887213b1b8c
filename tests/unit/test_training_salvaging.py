"""What a checkpoint gives after the end: the weights that it holds, and nothing of a bad one."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models.domain.checkpoints import Kept
from models.domain.lifecycle import StopReason, Wish
from tests.installed import write_package
from tests.programs import call, program_spec
from tests.trainings import SMALL, Book, Wants, make_request, train_spec
from worker.training.errors import (
    Cancelled,
    CheckpointCorrupt,
    CheckpointMissing,
    StoreFailed,
    Suspended,
)
from worker.training.salvaging import salvage
from worker.training.sink import Ended

SPEC = SMALL | {
    "dataset": {"name": "digits", "train_samples": 200, "test_samples": 50, "validation": 50},
    "epochs": 100_000,
    "checkpoint": {"every_seconds": 0.1, "keep_best": True},
}


def cut_off(folder: Path) -> dict[str, Any]:
    """Train until a checkpoint of a later epoch, then cancel; returns that checkpoint."""
    book = Book()

    def cancel(book: Book) -> Wish | None:
        return Wish.CANCEL if book.epochs and book.told[-1][0] == "checkpoint" else None

    with pytest.raises(Cancelled):
        train_spec(SPEC, folder, book=book, wish=cancel)
    checkpoint: dict[str, Any] = book.all("checkpoint")[-1]
    return checkpoint


def salvaged(folder: Path, uri: str, sha256: str) -> tuple[Ended, Book]:
    book = Book()
    request = make_request(SPEC, folder, checkpoints=(Kept(1, uri, sha256),))
    return salvage(request, book, Wants(book, lambda _book: None)), book


def test_the_files_of_a_checkpoint_are_those_that_a_stop_there_would_have_left(
    tmp_path: Path,
) -> None:
    checkpoint = cut_off(tmp_path)
    ended, book = salvaged(tmp_path, checkpoint["uri"], checkpoint["sha256"])
    assert ended.stop_reason is StopReason.STOPPED
    assert ended.iterations == checkpoint["iteration"]
    files = book.artifacts
    assert set(files) == {"weights.safetensors", "network.py", "weights_best.safetensors"}
    assert files["weights.safetensors"]["sha256"] == ended.weights_sha256
    kept = torch.load(checkpoint["uri"], weights_only=True)
    for name, of in (("weights.safetensors", "network"), ("weights_best.safetensors", "best")):
        weights = load_file(files[name]["uri"])
        assert weights.keys() == kept[of].keys()
        assert all(torch.equal(weights[key], kept[of][key]) for key in weights)
    names: dict[str, Any] = {}
    exec(Path(files["network.py"]["uri"]).read_text(), names)  # noqa: S102 - the file's purpose
    network = names["Network"]()
    network.load_state_dict(load_file(files["weights.safetensors"]["uri"]))
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_a_checkpoint_that_is_not_the_booked_one_gives_nothing(tmp_path: Path) -> None:
    checkpoint = cut_off(tmp_path)
    file = Path(checkpoint["uri"])
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(CheckpointCorrupt, match="sha256"):
        salvaged(tmp_path, checkpoint["uri"], checkpoint["sha256"])
    with pytest.raises(CheckpointMissing, match=r"\.gone"):
        salvaged(tmp_path, f"{file}.gone", checkpoint["sha256"])
    # A folder where the file should be: that tells nothing of the checkpoint.
    with pytest.raises(StoreFailed):
        salvaged(tmp_path, str(file.parent), checkpoint["sha256"])
    assert not list(tmp_path.rglob("*.safetensors"))


PROGRAM = """
import torch
class Network(torch.nn.Linear):
    def get_extra_state(self):
        return {"version": 2}
    def set_extra_state(self, state):
        pass
def main(run, kept):
    network = Network(2, 1)
    run.iteration(loss=1.0, samples=1)
    run.checkpoint(**({"network": network} if kept else {"numbers": [1, 2]}))
"""


@pytest.mark.parametrize("kept", [True, False])
def test_a_programs_checkpoint_gives_the_weights_of_its_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, kept: bool
) -> None:
    write_package(tmp_path / "site", "team_odd", salvaged=PROGRAM)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    for name in ("team_odd", "team_odd.salvaged"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    told = Book()
    spec = program_spec("team_odd.salvaged:main", options={"kept": kept})
    with pytest.raises(Suspended):
        call(
            spec,
            tmp_path,
            book=told,
            wish=lambda book: Wish.PAUSE if book.all("resumed") else None,
        )
    (checkpoint,) = told.all("checkpoint")
    if not kept:
        with pytest.raises(CheckpointMissing, match="kept no network"):
            salvaged(tmp_path, checkpoint["uri"], checkpoint["sha256"])
        return
    ended, book = salvaged(tmp_path, checkpoint["uri"], checkpoint["sha256"])
    assert (ended.iterations, set(book.artifacts)) == (1, {"weights.safetensors"})
    weights = load_file(book.artifacts["weights.safetensors"]["uri"])
    assert {name: tuple(each.shape) for name, each in weights.items()} == {
        "weight": (1, 2),
        "bias": (1,),
    }
