"""What a training leaves: weights and source that stand alone, checkpoints that go on."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.domain.lifecycle import Wish
from tests.trainings import SMALL, Book, train_spec
from worker.training.data.digits import FILE
from worker.training.errors import Cancelled, CheckpointCorrupt, Diverged

ALONE = """
import sys
import importlib.util
from pathlib import Path
import torch
from safetensors.torch import load_file
for ours in ("worker", "models", "foundation"):
    assert importlib.util.find_spec(ours) is None, ours
folder, digits, size = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
names = {}
exec((folder / "network.py").read_text(), names)
network = names["Network"]()
network.load_state_dict(load_file(folder / sys.argv[4]))
network.eval()
data = load_file(digits)
images = data["test_images"].float()
if size != 8:
    images = torch.nn.functional.interpolate(images, (size, size), mode="bilinear")
with torch.no_grad():
    answers = network(images).argmax(1)
print((answers == data["test_labels"]).double().mean().item())
"""


def accuracy_alone(folder: Path, size: int, weights: str, elsewhere: Path) -> float:
    """Measure left weights in a process that cannot import the project."""
    site = next(path for path in sys.path if path.endswith("site-packages"))
    done = subprocess.run(
        [sys.executable, "-S", "-c", ALONE, str(folder), str(FILE), str(size), weights],
        cwd=elsewhere,
        # -S leaves out the editable install's finder; the packages themselves are still found.
        env={**os.environ, "PYTHONPATH": site, "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


NETWORKS: list[tuple[dict[str, Any], dict[str, Any], int]] = [
    ({"name": "small_cnn"}, {}, 8),
    ({"name": "lenet5"}, {"resize": [16, 16]}, 16),
    ({"name": "resnet20"}, {"normalize": False}, 8),
]


@pytest.mark.parametrize(("network", "dataset", "size"), NETWORKS)
def test_weights_and_source_alone_give_the_recorded_test_accuracy(
    network: dict[str, Any], dataset: dict[str, Any], size: int, tmp_path: Path
) -> None:
    spec = {
        "dataset": {"name": "digits", "train_samples": 500, **dataset},
        "network": network,
        "epochs": 2,
        "checkpoint": {"keep_best": True},
    }
    ended, book = train_spec(spec, tmp_path)
    weights = Path(book.artifacts["weights.safetensors"]["uri"])
    found = accuracy_alone(weights.parent, size, "weights.safetensors", tmp_path)
    assert found == book.epochs[-1]["test_accuracy"]
    content = weights.read_bytes()
    assert hashlib.sha256(content).hexdigest() == ended.weights_sha256
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert "__metadata__" not in header
    evaluation = json.loads((weights.parent / "evaluation.json").read_text())
    assert evaluation["accuracy"] == found
    assert np.array(evaluation["confusion_matrix"]).sum() == 360
    assert "top5_accuracy" not in evaluation
    best = accuracy_alone(weights.parent, size, "weights_best.safetensors", tmp_path)
    assert evaluation["best"]["accuracy"] == best


def test_above_ten_classes_the_evaluation_has_the_best_five(tmp_path: Path) -> None:
    dataset = {"name": "synthetic", "shape": [8], "classes": 20, "train_samples": 400}
    _, book = train_spec(SMALL | {"dataset": dataset}, tmp_path)
    evaluation = json.loads(Path(book.artifacts["evaluation.json"]["uri"]).read_text())
    assert evaluation["top5_accuracy"] >= evaluation["accuracy"]


RICH = {
    "dataset": {"name": "digits", "train_samples": 400, "test_samples": 50, "validation": 50},
    "network": {
        "layers": [
            {"conv": {"channels": 8, "kernel": 3}},
            {"batch_norm": {}},
            {"relu": {}},
            {"dropout": {"p": 0.3}},
            {"global_avg_pool": {}},
            {"linear": {"features": 10}},
        ]
    },
    "augment": [{"random_crop": {"padding": 1}}],
    "optimizer": {"name": "adamw", "lr": 0.01},
    "schedule": {"name": "one_cycle", "max_lr": 0.05, "warmup_iterations": 3},
    "batch_size": 8,
    "epochs": 6,
    "checkpoint": {"every_seconds": 0.1},
    "record": {"grad_norm_every": 1, "layers_every": 5},
}

GO_ON = """
import json, sys
from pathlib import Path
from tests.trainings import Book, train_spec
spec, folder, uri, sha256 = json.loads(sys.argv[1])
ended, book = train_spec(
    spec, Path(folder), attempt=2, checkpoint_uri=uri, checkpoint_sha256=sha256
)
fields = ("iteration", "epoch", "batch", "samples", "loss", "lr", "grad_norm")
print(json.dumps({
    "rows": {name: book.table[name].tolist() for name in fields},
    "epochs": book.epochs,
    "resumed_at": book.all("started")[0]["resumed_at"],
    "weights_sha256": ended.weights_sha256,
    "summary": book.all("summary")[-1],
}))
"""


def timeless(epochs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in epoch.items() if "second" not in name} for epoch in epochs
    ]


def test_going_on_from_a_checkpoint_in_another_process_gives_the_same_bits(tmp_path: Path) -> None:
    ended, whole = train_spec(RICH, tmp_path / "whole")
    interrupted = Book()

    def cancel_after_a_checkpoint_in_the_second_epoch(book: Book) -> Wish | None:
        made = book.all("checkpoint")
        return Wish.CANCEL if made and made[-1]["iteration"] > 44 else None

    with pytest.raises(Cancelled):
        train_spec(
            RICH,
            tmp_path / "cut",
            book=interrupted,
            wish=cancel_after_a_checkpoint_in_the_second_epoch,
        )
    kept = interrupted.all("checkpoint")[-1]
    assert "attempt-1" in kept["uri"]
    assert torch.load(kept["uri"], weights_only=True)["state"]["iteration"] == kept["iteration"]
    told = json.dumps([RICH, str(tmp_path / "cut"), kept["uri"], kept["sha256"]])
    done = subprocess.run(
        [sys.executable, "-c", GO_ON, told], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rest = json.loads(done.stdout.splitlines()[-1])
    at = kept["iteration"]
    assert rest["resumed_at"] == at
    assert rest["rows"]["iteration"] == list(range(at + 1, 265))
    for name, values in rest["rows"].items():
        assert values == whole.table[name].tolist()[at:], name
    assert timeless(rest["epochs"]) == timeless(whole.epochs)[-len(rest["epochs"]) :]
    assert rest["weights_sha256"] == ended.weights_sha256
    assert rest["summary"] == whole.all("summary")[-1]


def test_a_checkpoint_that_is_not_the_booked_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    torch.save({"format": 99}, file)
    with pytest.raises(CheckpointCorrupt, match="sha256"):
        train_spec(SMALL, tmp_path, checkpoint_uri=str(file), checkpoint_sha256="0" * 64)
    with pytest.raises(CheckpointCorrupt, match="format is 99"):
        train_spec(SMALL, tmp_path, checkpoint_uri=str(file))


def test_weights_that_are_not_finite_are_no_checkpoint(tmp_path: Path) -> None:
    book = Book()
    spec = RICH | {"optimizer": {"name": "sgd", "lr": 1e30}, "schedule": {"name": "constant"}}
    with pytest.raises(Diverged):
        train_spec(spec, tmp_path, book=book)
    for kept in book.all("checkpoint"):
        weights = torch.load(kept["uri"], weights_only=True)["network"]
        assert all(tensor.isfinite().all() for tensor in weights.values())


def test_the_environment_says_what_ran(tmp_path: Path) -> None:
    _, book = train_spec(SMALL, tmp_path)
    environment = book.all("started")[0]
    assert environment["device"] == "cpu"
    assert environment["precision"] == "fp32"
    assert environment["threads"] == 1
    assert environment["torch"] == torch.__version__
    assert environment["packages"]["numpy"] == np.__version__
    assert len(environment["dataset_sha256"]) == 64
    assert environment["resumed_at"] == 0
