"""The epochs' page: sums over rows, evaluations where they are due, the ends of trainings."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from models.domain.lifecycle import StopReason, Wish
from tests.trainings import SMALL, Book, train_spec
from worker.training.errors import Cancelled, DatasetMissing, Diverged, OutOfMemory

HELD = {"name": "digits", "train_samples": 200, "test_samples": 50, "validation": 40}


def test_rows_count_iterations_epochs_batches_and_samples(tmp_path: Path) -> None:
    ended, book = train_spec(SMALL, tmp_path)
    rows = book.table
    assert rows["iteration"].tolist() == list(range(1, 15))
    assert rows["epoch"].tolist() == [1] * 7 + [2] * 7
    assert rows["batch"].tolist() == list(range(1, 8)) * 2
    assert rows["samples"].tolist() == ([32] * 6 + [8]) * 2
    assert (rows["seconds"] > 0).all()
    assert (ended.stop_reason, ended.iterations) == (StopReason.EPOCHS, 14)


@pytest.mark.parametrize(
    ("given", "samples"),
    [
        ({"drop_last": True}, [32] * 6),
        ({"batch_size": "full"}, [200]),
        ({"batch_size": 100}, [100, 100]),
        ({"batch_size": 1}, [1] * 200),
    ],
)
def test_every_gradient_descent_has_its_batches(
    given: dict[str, Any], samples: list[int], tmp_path: Path
) -> None:
    _, book = train_spec(SMALL | {"epochs": 1} | given, tmp_path)
    assert book.table["samples"].tolist() == samples


def test_an_epoch_is_the_sum_of_its_rows(tmp_path: Path) -> None:
    _, book = train_spec(SMALL, tmp_path)
    for epoch in book.epochs:
        rows = book.table[book.table["epoch"] == epoch["epoch"]]
        total = sum(row["loss"] * row["samples"] for row in rows)
        assert epoch["train_loss"] == pytest.approx(total / 200, rel=1e-12)
        assert (epoch["batches"], epoch["samples"]) == (7, 200)
        assert epoch["first_iteration"] == rows["iteration"][0]
        assert epoch["last_iteration"] == rows["iteration"][-1]
        assert epoch["seconds"] == pytest.approx(rows["seconds"].sum())
        assert epoch["test_batches"] == math.ceil(50 / 32)
        assert epoch["weight_change"] > 0
        assert 0 <= epoch["train_accuracy"] <= 1
        assert epoch["skipped_updates"] == 0
    assert book.epochs[1]["train_loss"] < book.epochs[0]["train_loss"]


def test_everything_is_told_in_order(tmp_path: Path) -> None:
    spec = SMALL | {"record": {"layers_every": 2}, "checkpoint": {"every_seconds": 0.1}}
    book = Book()
    train_spec(spec | {"epochs": 40}, tmp_path, book=book)
    delivered = 0
    for kind, what in book.told:
        if kind == "rows":
            assert what["iteration"][0] == delivered + 1
            delivered = int(what["iteration"][-1])
        elif kind == "layers":
            assert what[0] <= delivered
        elif kind == "epoch":
            assert what["last_iteration"] == delivered
        elif kind == "checkpoint":
            assert what["iteration"] == delivered
    assert delivered == 280
    assert [kind for kind, _ in book.told if kind != "phase"][:2] == ["resumed", "started"]
    assert len(book.all("rows")[0]) == 1
    phases = [name for name, _, _ in book.all("phase")]
    assert phases[0] == "load"
    assert {"train", "evaluate", "save"} <= set(phases)


def test_without_validation_the_test_set_is_measured_every_so_often_and_at_the_end(
    tmp_path: Path,
) -> None:
    _, book = train_spec(SMALL | {"epochs": 5, "evaluate": {"every_epochs": 2}}, tmp_path)
    assert [epoch["test_loss"] is not None for epoch in book.epochs] == [
        False,
        True,
        False,
        True,
        True,
    ]
    assert all(epoch["val_loss"] is None for epoch in book.epochs)


def test_with_validation_the_test_set_is_measured_at_the_end_only(tmp_path: Path) -> None:
    _, book = train_spec(SMALL | {"dataset": HELD, "epochs": 3}, tmp_path)
    assert [epoch["test_loss"] is not None for epoch in book.epochs] == [False, False, True]
    assert all(epoch["val_accuracy"] is not None for epoch in book.epochs)
    assert book.epochs[0]["samples"] == 160
    summary = book.all("summary")[-1]
    assert summary["test_loss"] == book.epochs[-1]["test_loss"]
    assert summary["val_loss"] == book.epochs[-1]["val_loss"]
    best = min(book.epochs, key=lambda epoch: float(epoch["val_loss"]))
    assert summary["best"] == {
        "metric": "val_loss",
        "value": best["val_loss"],
        "epoch": best["epoch"],
        "iteration": best["last_iteration"],
    }
    assert summary["best_loss"] == min(epoch["train_loss"] for epoch in book.epochs)
    assert summary["final_loss"] == book.losses[-1]
    assert "weights_best.safetensors" in book.artifacts


ENDS: list[tuple[dict[str, Any], StopReason, int]] = [
    ({"stop": {"max_iterations": 10}}, StopReason.MAX_ITERATIONS, 10),
    ({"stop": {"max_iterations": 7}}, StopReason.MAX_ITERATIONS, 7),
    ({"stop": {"max_iterations": 14}}, StopReason.EPOCHS, 14),
    ({"stop": {"target_loss": 100.0}}, StopReason.TARGET_LOSS, 7),
    ({"stop": {"target_loss": 100.0, "target_on": "iteration"}}, StopReason.TARGET_LOSS, 1),
    (
        {"stop": {"target_loss": 100.0, "target_on": "val_loss"}, "dataset": HELD},
        StopReason.TARGET_LOSS,
        5,
    ),
    ({"stop": {"max_seconds": 1e-6}}, StopReason.MAX_SECONDS, 1),
    ({"stop": {"patience_epochs": 1, "min_delta": 50.0}, "epochs": 9}, StopReason.PATIENCE, 14),
]


@pytest.mark.parametrize(("given", "reason", "iterations"), ENDS)
def test_every_rule_ends_a_training(
    given: dict[str, Any], reason: StopReason, iterations: int, tmp_path: Path
) -> None:
    ended, book = train_spec(SMALL | given, tmp_path)
    assert (ended.stop_reason, ended.iterations) == (reason, iterations)
    assert len(book.table) == iterations
    assert sum(epoch["batches"] for epoch in book.epochs) == iterations
    assert book.epochs[-1]["last_iteration"] == iterations
    assert book.epochs[-1]["test_accuracy"] is not None
    assert "weights.safetensors" in book.artifacts


def test_time_of_earlier_attempts_counts(tmp_path: Path) -> None:
    spec = SMALL | {"stop": {"max_seconds": 1000.0}}
    ended, _ = train_spec(spec, tmp_path, seconds_before=1000.0)
    assert ended.stop_reason is StopReason.MAX_SECONDS


def test_the_target_on_an_iteration_is_reached_by_that_rows_loss(tmp_path: Path) -> None:
    spec = SMALL | {"epochs": 50, "stop": {"target_loss": 1.0, "target_on": "iteration"}}
    _, book = train_spec(spec, tmp_path)
    assert book.losses[-1] <= 1.0
    assert min(book.losses[:-1]) > 1.0


def wish_at(phase: str, wish: Wish, batch: int = 0) -> Any:  # noqa: ANN401 - a wish function
    def wanted(book: Book) -> Wish | None:
        started = len(book.table) >= batch
        phases = book.all("phase")
        return wish if started and phases and phases[-1][0] == phase else None

    return wanted


def test_a_wish_to_stop_ends_it_after_the_iteration_with_all_that_is_left_behind(
    tmp_path: Path,
) -> None:
    spec = SMALL | {"epochs": 100_000}
    ended, book = train_spec(spec, tmp_path, wish=wish_at("train", Wish.STOP, batch=1))
    assert ended.stop_reason is StopReason.STOPPED
    assert book.epochs[-1]["last_iteration"] == ended.iterations == len(book.table)
    assert {"weights.safetensors", "network.py", "evaluation.json"} <= set(book.artifacts)


@pytest.mark.parametrize("phase", ["load", "train", "evaluate", "save"])
def test_a_cancel_is_heard_whatever_the_training_does(phase: str, tmp_path: Path) -> None:
    book = Book()
    spec = SMALL | {"checkpoint": {"every_seconds": 0.1}, "epochs": 100_000}
    with pytest.raises(Cancelled) as caught:
        train_spec(spec, tmp_path, book=book, wish=wish_at(phase, Wish.CANCEL))
    assert caught.value.iteration == len(book.table)
    assert not book.artifacts
    assert not caught.value.retryable


def test_progress_shows_the_training_s_batch_while_it_evaluates_and_saves(tmp_path: Path) -> None:
    _, book = train_spec(SMALL | {"evaluate": {"batch_size": 1}}, tmp_path)
    evaluating = [where for name, *where in book.all("phase") if name == "evaluate"]
    assert evaluating[0] == [1, 7]
    assert evaluating[-1] == [2, 7]
    places = [where for name, *where in book.all("phase") if name != "load"]
    assert places == sorted(places)


def test_a_training_that_diverges_ends_with_that_row(tmp_path: Path) -> None:
    book = Book()
    spec = SMALL | {"optimizer": {"name": "sgd", "lr": 1e30}, "network": {"name": "mlp"}}
    with pytest.raises(Diverged) as caught:
        train_spec(spec, tmp_path, book=book)
    losses = book.losses
    assert caught.value.iteration == len(losses)
    assert not math.isfinite(losses[-1])
    assert all(math.isfinite(loss) for loss in losses[:-1])
    assert not book.artifacts


def test_a_training_may_go_on_with_losses_that_are_not_finite(tmp_path: Path) -> None:
    spec = SMALL | {
        "optimizer": {"name": "sgd", "lr": 1e30},
        "network": {"name": "mlp"},
        "stop": {"on_non_finite": "continue"},
    }
    ended, book = train_spec(spec, tmp_path)
    assert ended.stop_reason is StopReason.EPOCHS
    assert len(book.table) == 14
    assert math.isnan(book.losses[-1])
    summary = book.all("summary")[-1]
    assert (summary["best_loss"], summary["best"]) == (None, None)
    assert math.isnan(summary["final_loss"])
    assert len(book.all("warning")) == 1


def test_a_missing_data_set_is_named_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    spec = {"dataset": {"name": "cifar10"}, "network": {"name": "linear"}, "epochs": 1}
    with pytest.raises(
        DatasetMissing, match=r"cifar-10-binary\.tar\.gz is not in .*datasets/cifar10"
    ):
        train_spec(spec, tmp_path)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_other_precisions_learn_too(precision: str, tmp_path: Path) -> None:
    spec = SMALL | {"network": {"name": "mlp"}, "precision": precision, "epochs": 3}
    _, book = train_spec(spec, tmp_path)
    assert book.all("started")[0]["precision"] == precision
    assert book.epochs[-1]["train_loss"] < book.epochs[0]["train_loss"]
    assert book.epochs[0]["skipped_updates"] in range(3)


def test_an_fp16_training_whose_every_forward_pass_overflows_has_diverged(tmp_path: Path) -> None:
    steep = {"leaky_relu": {"slope": 1e4}}
    layers = [{"flatten": {}}, {"linear": {"features": 64}}, steep, steep, steep]
    spec = SMALL | {
        "network": {"layers": [*layers, {"linear": {"features": 10}}]},
        "precision": "fp16",
    }
    book = Book()
    with pytest.raises(Diverged):
        train_spec(spec, tmp_path, book=book)
    assert len(book.table) == 10


def test_no_room_is_told_as_such(tmp_path: Path) -> None:
    # 8 bytes a label: more than a process can address, so nothing is ever allocated.
    dataset = {"name": "synthetic", "shape": [2], "train_samples": 10**17}
    with pytest.raises(OutOfMemory) as caught:
        train_spec(SMALL | {"dataset": dataset}, tmp_path)
    assert caught.value.retryable


@pytest.mark.parametrize("name", ["digits.json", "lenet5-digits-32.json"])
def test_the_examples_on_digits_reach_their_accuracy(name: str, tmp_path: Path) -> None:
    path = Path(__file__).parents[2] / "examples" / name
    _, book = train_spec(json.loads(path.read_text()), tmp_path)
    assert book.epochs[-1]["test_accuracy"] >= 0.97
