"""Code of a team's own in a real training: to the same bits, and named where it can't be used."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models.domain.checkpoints import Kept
from models.domain.lifecycle import Wish
from tests.installed import write_package
from tests.trainings import Book, train_spec
from worker.training.environment import kind_of
from worker.training.errors import (
    EntryPointMissing,
    EntryPointRefused,
    EntryPointUnfit,
    Suspended,
    TrainingError,
)

LIST = ("team_vision", "team_odd")
STRIPES: dict[str, Any] = {
    "entrypoint": "team_vision.data:load",
    "options": {"train": 200, "test": 50},
    "train_samples": 200,
    "test_samples": 50,
    "shape": [1, 8, 8],
    "classes": 4,
}
OWN: dict[str, Any] = {
    "dataset": STRIPES,
    "network": {"entrypoint": "team_vision.nets:build"},
    "loss": {"entrypoint": "team_vision.losses:Focal", "options": {"gamma": 1.0}},
    "optimizer": {"entrypoint": "team_vision.optim:Lion", "lr": 0.003},
    "schedule": {"name": "cosine", "warmup_iterations": 2},
    "batch_size": 32,
    "epochs": 4,
    "checkpoint": {"every_seconds": 1000},
    "record": {"grad_norm_every": 1},
}
"""7 batches an epoch, the last of 8 samples."""

PLAIN = """
import torch
from team_vision.data import load
from team_vision.losses import Focal
from team_vision.nets import build
from team_vision.optim import Lion
from worker.training.order import epoch_order
"""


@pytest.fixture
def odd(team_vision: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for packages of a test's own."""
    del team_vision
    monkeypatch.syspath_prepend(str(tmp_path / "odd"))
    monkeypatch.delitem(__import__("sys").modules, "team_odd", raising=False)
    return tmp_path / "odd"


def own(folder: Path, **changes: Any) -> tuple[Any, Book]:  # noqa: ANN401 - fields of a spec
    return train_spec(OWN | changes, folder, packages=LIST)


@pytest.mark.usefixtures("team_vision")
def test_a_training_of_own_parts_is_what_a_plain_loop_of_them_computes(tmp_path: Path) -> None:
    _, book = own(tmp_path, schedule={"name": "constant"}, epochs=2)
    names: dict[str, Any] = {}
    exec(PLAIN, names)  # noqa: S102 - what a person would write
    train, _ = names["load"](train=200, test=50)
    x = torch.stack([train[place][0] for place in range(200)])
    labels = train.labels
    torch.manual_seed(0)
    network, loss_of = names["build"](), names["Focal"](gamma=1.0)
    optimizer = names["Lion"](network.parameters(), lr=0.003)
    losses = []
    for epoch in (1, 2):
        order = names["epoch_order"](0, epoch, 200)
        for batch in torch.split(order, 32):
            optimizer.zero_grad()
            loss = loss_of(network(x[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert book.losses == losses


@pytest.mark.usefixtures("team_vision")
def test_what_was_paused_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    ended, whole = own(tmp_path / "whole")
    first = Book()
    with pytest.raises(Suspended):
        train_spec(
            OWN,
            tmp_path / "cut",
            book=first,
            wish=lambda book: Wish.PAUSE if len(book.table) >= 1 else None,
            packages=LIST,
        )
    kept = [
        Kept(each["iteration"], each["uri"], each["sha256"]) for each in first.all("checkpoint")
    ]
    again, rest = train_spec(
        OWN, tmp_path / "cut", attempt=2, checkpoints=tuple(kept), packages=LIST
    )
    assert first.losses + rest.losses == whole.losses
    assert again.weights_sha256 == ended.weights_sha256
    assert not rest.all("warning")


@pytest.mark.usefixtures("team_vision")
def test_the_book_says_whose_code_it_was(tmp_path: Path) -> None:
    _, book = own(tmp_path, epochs=1)
    environment = book.all("started")[0]
    told = environment["entrypoints"]["team_vision"]
    assert told["version"] == "1.2.0"
    assert len(told["sha256"]) == 64
    assert environment["dataset_sha256"]
    # Where the package has changed a job does not go on as if nothing had been.
    assert kind_of(environment)["entrypoints"] == environment["entrypoints"]
    assert not book.all("layers")
    assert book.epochs[0]["test_accuracy"] is not None


@pytest.mark.usefixtures("team_vision")
def test_the_left_source_builds_the_network_that_trained(tmp_path: Path) -> None:
    _, book = own(tmp_path, epochs=1, dataset=STRIPES | {"normalize": True})
    files = {name: Path(artifact["uri"]) for name, artifact in book.artifacts.items()}
    names: dict[str, Any] = {}
    source = files["network.py"].read_text()
    exec(compile(source, "network.py", "exec"), names)  # noqa: S102 - it is the file's purpose
    network = names["Network"]()
    weights = load_file(files["weights.safetensors"])
    network.load_state_dict(weights)
    network.eval()
    assert set(network.state_dict()) == set(weights)
    exec(PLAIN, names)  # noqa: S102 - as above
    _, test = names["load"](train=200, test=50)
    x = torch.stack([test[place][0] for place in range(50)])
    right = (network(x).argmax(1) == test.labels).float().mean().item()
    assert right == pytest.approx(book.epochs[-1]["test_accuracy"])
    told = book.all("started")[0]["entrypoints"]["team_vision"]["sha256"]
    assert told in source
    assert "team_vision, 1.2.0" in source


@pytest.mark.usefixtures("team_vision")
def test_passes_of_a_batch_are_weighed_by_their_samples(tmp_path: Path) -> None:
    plain = {"optimizer": {"name": "sgd", "lr": 0.1}, "network": {"name": "mlp"}, "epochs": 1}
    _, whole = own(tmp_path / "whole", **plain)
    _, parts = own(tmp_path / "parts", **plain, micro_batch_size=5)
    assert parts.losses == pytest.approx(whole.losses, rel=1e-5)
    ours = {"loss": {"name": "cross_entropy"}}
    theirs = {"loss": {"entrypoint": "team_vision.losses:Focal", "options": {"gamma": 0.0}}}
    _, one = own(tmp_path / "one", **plain, **ours)
    _, other = own(tmp_path / "other", **plain, **theirs)
    assert other.losses == pytest.approx(one.losses, rel=1e-6)


TOKENS = """
import torch
from torch import nn

def load():
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(50, (80, 6), generator=generator, dtype=torch.int32)
    return (x[:60], (x[:60, 0] % 3).long()), (x[60:].numpy(), (x[60:, 0] % 3).numpy())

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 8)
        self.last = nn.Linear(8, 3)
        self.tied = self.last
    def forward(self, x):
        return self.last(self.embed(x).mean(1))
"""


def test_whole_numbers_are_taken_as_they_are_and_tied_weights_are_kept(
    odd: Path, tmp_path: Path
) -> None:
    write_package(odd, "team_odd", words=TOKENS)
    dataset = {
        "entrypoint": "team_odd.words:load",
        "train_samples": 60,
        "test_samples": 20,
        "shape": [6],
        "classes": 3,
    }
    words = {"dataset": dataset, "network": {"entrypoint": "team_odd.words:Net"}}
    _, book = own(tmp_path, **words, optimizer={"name": "adam", "lr": 0.05}, epochs=30)
    assert book.losses[-1] < book.losses[0] / 2
    weights = load_file(book.artifacts["weights.safetensors"]["uri"])
    assert torch.equal(weights["tied.weight"], weights["last.weight"])
    with pytest.raises(EntryPointUnfit, match="a network of your own"):
        own(tmp_path, **words | {"network": {"name": "linear"}})


ODD = """
import os
from os import system
import torch
from torch import nn
from team_vision.nets import build as again
from team_vision.data import load

SIZE = 3
def nothing(): return None
def narrow(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
def pair():
    class Pair(nn.Linear):
        def forward(self, x): return super().forward(x.flatten(1)), None
    return Pair(64, 4)
def frozen(): return narrow().requires_grad_(False)
class Extra(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(64, 4)
    def forward(self, x): return self.last(x.flatten(1))
    def get_extra_state(self): return {"a": 1}
    def set_extra_state(self, state): pass
def vector(): return lambda output, labels: output.sum(1)
def number(): return lambda output, labels: 3.0
def learnt():
    class Learnt(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))
    return Learnt()
class Momentous(torch.optim.SGD):
    def step(self, closure=None):
        super().step()
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["when"] = torch.Generator
class Suspended(Exception):
    retryable = False
def left(): raise Suspended("not ours")
def out(): raise SystemExit(0)
def boom(): raise ZeroDivisionError("in their code")
def data(train=None, test=None, count=20):
    x, y = torch.zeros(count, 1, 8, 8), torch.zeros(count, dtype=torch.long)
    return (train or (x, y)), (test or (x, y))
def labels(first, last, dtype="int64"):
    y = torch.tensor([first] * 19 + [last]).to(getattr(torch, dtype))
    return data(train=(torch.zeros(20, 1, 8, 8), y))
def complex_samples():
    return data(train=(torch.zeros(20, 1, 8, 8).cfloat(), torch.zeros(20).long()))
def only_train(): return data()[0]
def texts(): return data(train=[("a", 0)] * 20)
def ragged(): return data(train=[(torch.zeros(1, 8, 8), 0)] * 19 + [(torch.zeros(1, 9, 8), 0)])
def floats(): return data(train=[(torch.zeros(1, 8, 8), float("nan"))] * 20)
def endless():
    class Endless:
        def __getitem__(self, place): return torch.zeros(1, 8, 8), 0
    return data(train=Endless())
"""


def _own(place: str, name: str, **options: object) -> dict[str, Any]:
    part: dict[str, Any] = {"entrypoint": f"team_odd.odd:{name}", "options": options}
    if place == "dataset":
        part |= {"train_samples": 20, "test_samples": 20, "shape": [1, 8, 8], "classes": 4}
    return {place: part}


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        (_own("network", "absent"), EntryPointMissing, "has no absent"),
        (_own("network", "SIZE"), EntryPointUnfit, "a int can't be called"),
        (_own("network", "system", command="touch /tmp/x"), EntryPointRefused, "not on this"),
        (_own("network", "nothing"), EntryPointUnfit, "a NoneType is no torch.nn.Module"),
        (_own("network", "narrow"), EntryPointUnfit, r"gives \[2, 3\] of 2 samples, not \[2, 4\]"),
        (_own("network", "pair"), EntryPointUnfit, "gives a tuple of 2 samples"),
        (_own("network", "frozen"), EntryPointUnfit, "gives"),
        (_own("network", "Extra"), EntryPointUnfit, "_extra_state is a dict"),
        (_own("network", "nothing", depth=3), TypeError, "depth"),
        (_own("network", "boom"), ZeroDivisionError, "in their code"),
        (_own("loss", "vector"), EntryPointUnfit, r"gives \[32\], not one number"),
        (_own("loss", "number"), EntryPointUnfit, "gives a float"),
        (_own("loss", "learnt"), EntryPointUnfit, "has parameters"),
        (_own("loss", "nothing"), EntryPointUnfit, "can't be called"),
        (_own("optimizer", "narrow"), TypeError, "lr"),
        (_own("dataset", "only_train"), EntryPointUnfit, "item 0 is no pair"),
        (_own("dataset", "nothing"), EntryPointUnfit, r"\(train, test\) is expected"),
        (_own("dataset", "data", count=30), EntryPointUnfit, "holds 30 samples, the spec says 20"),
        (_own("dataset", "labels", first=1, last=4), EntryPointUnfit, "labels go from 1 to 4"),
        (_own("dataset", "labels", first=0, last=-1), EntryPointUnfit, "labels go from -1 to 0"),
        (_own("dataset", "labels", first=0, last=1, dtype="float32"), EntryPointUnfit, "float32"),
        (_own("dataset", "complex_samples"), EntryPointUnfit, "complex64"),
        (_own("dataset", "texts"), EntryPointUnfit, "item 0 is no pair"),
        (_own("dataset", "ragged"), EntryPointUnfit, r"item 19 is \[1, 9, 8\]"),
        (_own("dataset", "floats"), EntryPointUnfit, "a label that is no class: nan"),
        (_own("dataset", "endless"), EntryPointUnfit, "holds None samples"),
    ],
)
def test_what_cannot_be_trained_with_is_named(
    odd: Path,
    tmp_path: Path,
    changes: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    write_package(odd, "team_odd", odd=ODD)
    with pytest.raises(error, match=words) as raised:
        own(tmp_path, **changes)
    assert not getattr(raised.value, "retryable", False)


@pytest.mark.usefixtures("team_vision")
def test_what_was_reexported_from_a_listed_package_is_its_own(odd: Path, tmp_path: Path) -> None:
    write_package(odd, "team_odd", odd=ODD)
    _, book = own(tmp_path, **_own("network", "again"), epochs=1)
    assert len(book.losses) == 7
    with pytest.raises(EntryPointRefused, match="team_odd"):
        train_spec(OWN | _own("network", "again"), tmp_path, packages=("team_vision",))


@pytest.mark.usefixtures("team_vision")
def test_a_package_off_the_list_is_not_even_imported(tmp_path: Path) -> None:
    with pytest.raises(EntryPointRefused, match="team_vision"):
        train_spec(OWN, tmp_path)


def test_a_state_that_could_not_be_read_again_is_told_at_the_first_checkpoint(
    odd: Path, tmp_path: Path
) -> None:
    write_package(odd, "team_odd", odd=ODD)
    changes = _own("optimizer", "Momentous") | {"checkpoint": {"every_seconds": 0.1}}
    with pytest.raises(EntryPointUnfit, match="more than tensors and plain values"):
        own(tmp_path, **changes, epochs=200)


def test_a_checkpoint_of_code_that_has_changed_since_is_named(odd: Path, tmp_path: Path) -> None:
    net = "from torch import nn\ndef build(): return nn.Sequential(nn.Flatten(), nn.Linear(64, {}))"
    spec = OWN | {"network": {"entrypoint": "team_odd.nets:build"}}
    write_package(odd, "team_odd", nets=net.format("4"))
    first = Book()
    with pytest.raises(Suspended):
        train_spec(
            spec,
            tmp_path,
            book=first,
            wish=lambda book: Wish.PAUSE if len(book.table) >= 1 else None,
            packages=LIST,
        )
    (kept,) = [
        Kept(each["iteration"], each["uri"], each["sha256"]) for each in first.all("checkpoint")
    ]
    modules = __import__("sys").modules
    del modules["team_odd.nets"]
    write_package(odd, "team_odd", nets=net.format("8), nn.Linear(8, 4"))
    with pytest.raises(TrainingError, match="has it changed since"):
        train_spec(spec, tmp_path, attempt=2, checkpoints=(kept,), packages=LIST)
