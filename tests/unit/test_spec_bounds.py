"""Bounds and strict types: the last value that is taken and the first that is refused."""

from typing import Any

import pytest

from models.domain.spec import parse_spec
from tests.specs import DIGITS, refusals_of

LARGEST = 2**63 - 1
UUID = "0190a6e0-7b3c-7000-8000-000000000000"

Place = tuple[str | int, ...]

TAKEN: list[tuple[Place, list[Any]]] = [
    (("epochs",), [1, 1_000_000]),
    (("max_attempts",), [1, 100]),
    (("seed",), [0, LARGEST]),
    (("threads",), [1, 256]),
    (("priority",), [-100, 100]),
    (("name",), ["", "x" * 200, "digits ✓ 数字"]),
    (("notes",), ["x" * 10_000]),
    (("project",), ["a", "0", "a" * 64, "a.b_c-d"]),
    (("queue",), ["gpu"]),
    (("tags",), [{str(i): "v" for i in range(64)}]),
    (("parent",), [UUID, None]),
    (("batch_size",), [1, "full"]),
    (("device",), ["auto", "cpu", "cuda", "cuda:0", "cuda:15"]),
    (("precision",), ["auto", "fp32", "bf16", "fp16"]),
    (("dataset", "validation"), [0, 0.5, 100, 0.0]),
    (("dataset", "split_seed"), [LARGEST]),
    (("dataset", "resize"), [[1, 1], None]),
    (("optimizer", "lr"), [1e-12, 1, 10**300]),
    (("optimizer", "betas"), [[0, 0.5]]),
    (("checkpoint", "every_seconds"), [0.1, 1]),
    (("checkpoint", "keep_best"), [True, False, "auto"]),
    (("record", "layers_every"), [0]),
    (("loss", "label_smoothing"), [0, 1]),
]

REFUSED: list[tuple[Place, list[Any]]] = [
    (("spec_version",), [2, True, "1"]),
    (("epochs",), [0, -1, 1_000_001, True, "3", 3.0, None, 10**400]),
    (("max_attempts",), [0, 101]),
    (("seed",), [-1, LARGEST + 1, 0.5]),
    (("threads",), [0, 257]),
    (("priority",), [-101, 101, 1.5]),
    (("name",), ["x" * 201, 3, None]),
    (("notes",), ["x" * 10_001]),
    (("project",), ["", "A", "-a", "a" * 65, "a b", "a\n", "ä"]),
    (("queue",), ["Default", 3]),
    (("tags",), [[], {str(i): "v" for i in range(65)}]),
    (("tags", "a"), [1, None, True, {}]),
    (("parent",), ["x", UUID + "0", 3, ""]),
    (("batch_size",), [0, -1, "all", "3", 1.5, True, None, [], {}]),
    (("drop_last",), [0, "true", None]),
    (("micro_batch_size",), [0, "full"]),
    (("devices",), [0, True, "1"]),
    (("compile",), [0, "true"]),
    (("device",), ["gpu", "cuda:", "cuda:01", "cuda:-1", "CPU", 0]),
    (("precision",), ["float32", 16]),
    (("dataset", "validation"), [-1, 1.0, -0.1, True, "0.1", None]),
    (("dataset", "train_samples"), [0, -5, 1.5]),
    (("dataset", "normalize"), [1, "yes"]),
    (("dataset", "resize"), ["8x8", 8, {}]),
    (("optimizer", "lr"), [0, -0.1, "0.1", True, None, 10**400]),
    (("optimizer", "weight_decay"), [-1]),
    (("optimizer", "betas", 1), [[0.9, 1]]),
    (("checkpoint", "every_seconds"), [0.09, 0, True]),
    (("checkpoint", "keep"), [0]),
    (("checkpoint", "keep_best"), ["yes", 1]),
    (("record", "grad_norm_every"), [-1]),
    (("evaluate", "every_epochs"), [0]),
    (("evaluate", "batch_size"), [0]),
    (("loss", "label_smoothing"), [-0.1, 1.1]),
    (("loss", "weight"), ["even", 3, [], [0, 0]]),
    (("stop", "target_loss"), [-1, True]),
    (("stop", "patience_epochs"), [0]),
    (("stop", "max_seconds"), [0]),
    (("stop", "max_iterations"), [0, LARGEST + 1]),
    (("stop", "target_on"), ["test_loss"]),
    (("monitor", "mode"), ["up"]),
    (("grad_clip",), [{}, {"max_norm": 1, "max_value": 1}, 1]),
    (("grad_clip", "max_norm"), [0, -1]),
]


def _changed(place: Place, value: object) -> dict[str, Any]:
    if len(place) == 1:
        return {str(place[0]): value}
    outer, inner = str(place[0]), str(place[1])
    whole = {"name": "digits"} if outer == "dataset" else {}
    return {outer: whole | {inner: value}}


@pytest.mark.parametrize(
    ("place", "value"), [(p, v) for p, vs in TAKEN for v in vs], ids=lambda value: repr(value)[:40]
)
def test_a_value_within_its_bounds_is_taken(place: Place, value: object) -> None:
    parse_spec(DIGITS | _changed(place, value))


@pytest.mark.parametrize(
    ("place", "value"),
    [(p, v) for p, vs in REFUSED for v in vs],
    ids=lambda value: repr(value)[:40],
)
def test_a_value_outside_its_bounds_is_refused_at_its_place(place: Place, value: object) -> None:
    assert list(refusals_of(DIGITS, **_changed(place, value))) == [place]


@pytest.mark.parametrize(
    ("changes", "loc"),
    [
        ({"optimizer": {"name": "sgd", "nesterov": True}}, ("optimizer",)),
        (
            {"schedule": {"name": "multi_step", "epochs": [2, 2], "gamma": 0.1}},
            ("schedule", "epochs"),
        ),
        ({"loss": {"name": "mse", "label_smoothing": 0.1}}, ("loss",)),
        ({"dataset": {"name": "synthetic", "shape": [2, 3]}}, ("dataset",)),
        ({"dataset": {"name": "synthetic", "shape": [9], "resize": [3, 3]}}, ("dataset",)),
        ({"dataset": {"name": "digits", "shape": [1, 8, 8]}}, ("dataset", "shape")),
        ({"network": {"name": "mlp", "layers": [{"relu": {}}]}}, ("network", "name")),
    ],
)
def test_parts_that_contradict_each_other_are_refused(changes: dict[str, Any], loc: Place) -> None:
    assert loc in refusals_of(DIGITS, **changes)


def test_a_number_too_long_to_print_is_refused() -> None:
    assert ("epochs",) in refusals_of(DIGITS, epochs=10**5_000)
