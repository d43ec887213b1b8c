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

from models.domain.metrics import MetricKind
from tests.trainings import RICH, SMALL, Book, train_spec
from worker.training.data.digits import FILE
from worker.training.errors import Diverged

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
    *_, (iteration, metrics, kind) = book.all("metrics")
    assert (iteration, kind) == (book.epochs[-1]["last_iteration"], MetricKind.EPOCH)
    assert metrics == {"test_top5_accuracy": evaluation["top5_accuracy"]}


def test_above_ten_classes_the_best_five_are_a_metric_of_every_epoch(tmp_path: Path) -> None:
    dataset = {"name": "synthetic", "shape": [8], "classes": 20, "train_samples": 400}
    _, book = train_spec(SMALL | {"dataset": dataset | {"validation": 50}, "epochs": 3}, tmp_path)
    ends = [epoch["last_iteration"] for epoch in book.epochs]
    assert [(iteration, list(values)) for iteration, values, _ in book.all("metrics")] == [
        (ends[0], ["val_top5_accuracy"]),
        (ends[1], ["val_top5_accuracy"]),
        (ends[2], ["val_top5_accuracy", "test_top5_accuracy"]),
    ]
    for iteration, values, _ in book.all("metrics"):
        epoch = book.epochs[ends.index(iteration)]
        assert epoch["val_accuracy"] <= values["val_top5_accuracy"] <= 1
    # The sink hears of them before it hears of the epoch.
    kinds = [kind for kind, _ in book.told if kind in {"metrics", "epoch"}]
    assert kinds == ["metrics", "epoch"] * 3


def test_up_to_ten_classes_the_trainer_has_no_metric_of_its_own(tmp_path: Path) -> None:
    _, book = train_spec(SMALL, tmp_path)
    assert book.all("metrics") == []


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
