"""The plan of the worked example, its rules and its warnings."""

from typing import Any

import pytest

from tests.specs import CIFAR, DIGITS, codes_of, layered, plan_of, refusals_of

TIMES = "\N{MULTIPLICATION SIGN}"

Place = tuple[str | int, ...]


def test_the_worked_example_is_the_contract_s() -> None:
    plan = plan_of(CIFAR).model_dump(mode="json")
    network = plan.pop("network")
    assert plan == {
        "train_samples": 50_000,
        "validation_samples": 0,
        "test_samples": 10_000,
        "batch_size": 256,
        "drop_last": False,
        "gradient_descent": "mini-batch",
        "epochs": 10,
        "batches_per_epoch": 196,
        "last_batch_size": 80,
        "iterations_total": 1_960,
        "weight_updates": 1_960,
        "validation_batches": 0,
        "test_batches": 40,
        "formula": f"10 {TIMES} ceil(50,000 / 256) = 10 {TIMES} 196 = 1,960",
        "suggested_batch_size": 256,
        "warnings": [],
    }
    assert network["parameters"] == 62_006
    assert network["layers"][0] == {
        "name": "conv1",
        "kind": "conv",
        "output_shape": [6, 28, 28],
        "parameters": 456,
    }


def test_250_divides_the_samples_and_leaves_no_remainder() -> None:
    plan = plan_of(CIFAR, batch_size=250)
    assert (plan.batches_per_epoch, plan.last_batch_size) == (200, 250)


def test_drop_last_leaves_the_remainder_out() -> None:
    plan = plan_of(CIFAR, drop_last=True)
    assert (plan.batches_per_epoch, plan.last_batch_size) == (195, 256)
    assert plan.formula == f"10 {TIMES} floor(50,000 / 256) = 10 {TIMES} 195 = 1,950"


@pytest.mark.parametrize(
    ("batch_size", "name", "batches"),
    [
        ("full", "batch", 1),
        (50_000, "batch", 1),
        (1, "stochastic", 50_000),
        (2, "mini-batch", 25_000),
    ],
)
def test_the_three_gradient_descents(batch_size: int | str, name: str, batches: int) -> None:
    plan = plan_of(CIFAR, batch_size=batch_size)
    assert (plan.gradient_descent, plan.batches_per_epoch) == (name, batches)


@pytest.mark.parametrize(
    ("network", "suggested"), [("lenet5", 256), ("vgg11", 128), ("resnet18", 64)]
)
def test_the_suggestion_goes_by_the_network_s_size(network: str, suggested: int) -> None:
    assert plan_of(CIFAR, network={"name": network}).suggested_batch_size == suggested


def test_the_suggestion_is_never_above_the_samples() -> None:
    few = {"name": "digits", "train_samples": 100}
    assert plan_of(DIGITS, dataset=few).suggested_batch_size == 100


def test_evaluation_has_its_own_batch_size() -> None:
    held_out = {"name": "cifar10", "validation": 5_000}
    plan = plan_of(CIFAR, dataset=held_out, evaluate={"batch_size": 1_000})
    assert (plan.validation_batches, plan.test_batches) == (5, 10)


@pytest.mark.parametrize(
    ("changes", "loc", "said"),
    [
        ({"batch_size": 50_001}, ("batch_size",), "50,000"),
        ({"micro_batch_size": 257}, ("micro_batch_size",), "256"),
        ({"stop": {"target_on": "val_loss"}}, ("stop", "target_on"), "dataset.validation"),
        ({"monitor": {"metric": "val_loss"}}, ("monitor", "metric"), "dataset.validation"),
        ({"monitor": {"metric": "val_accuracy"}}, ("monitor", "metric"), "dataset.validation"),
        ({"loss": {"weight": [1, 2]}}, ("loss", "weight"), "10 classes"),
        ({"schedule": {"name": "cosine", "min_lr": 0.1}}, ("schedule", "min_lr"), "0.001"),
        ({"device": "cpu", "precision": "fp16"}, ("precision",), "CUDA"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(
    changes: dict[str, Any], loc: Place, said: str
) -> None:
    refusals = refusals_of(CIFAR, **changes)
    assert list(refusals) == [loc]
    assert said in refusals[loc]


def test_a_test_metric_is_refused_beside_a_validation_set() -> None:
    held_out = {"name": "cifar10", "validation": 0.1}
    refusals = refusals_of(CIFAR, dataset=held_out, monitor={"metric": "test_loss"})
    assert "at the end only" in refusals["monitor", "metric"]


def test_augmentation_needs_images() -> None:
    flat = {"name": "synthetic", "shape": [4], "classes": 3}
    refusals = refusals_of(DIGITS, dataset=flat, augment=[{"cutout": {"size": 1}}])
    assert list(refusals) == [("augment", 0, "cutout")]


SMALL_CNN = {"name": "small_cnn"}


@pytest.mark.parametrize(
    ("changes", "code", "loc"),
    [
        ({"batch_size": 250}, "batch_size_guidance", ("batch_size",)),
        ({"batch_size": 32}, "batch_size_guidance", ("batch_size",)),
        ({"batch_size": "full"}, "batch_size_guidance", ("batch_size",)),
        ({"batch_size": 49_999, "network": SMALL_CNN}, "last_batch_of_one", ("batch_size",)),
        ({"batch_size": 1, "network": SMALL_CNN}, "last_batch_of_one", ("batch_size",)),
        (
            {"micro_batch_size": 255, "network": SMALL_CNN},
            "last_batch_of_one",
            ("micro_batch_size",),
        ),
        ({"optimizer": {"lr": 0.5}}, "learning_rate_unusual", ("optimizer", "lr")),
        ({"optimizer": {"name": "sgd", "lr": 1e-6}}, "learning_rate_unusual", ("optimizer", "lr")),
        (
            {"schedule": {"name": "one_cycle", "max_lr": 2}},
            "learning_rate_unusual",
            ("schedule", "max_lr"),
        ),
        ({"monitor": {"metric": "test_accuracy"}}, "test_metric_choice", ("monitor", "metric")),
        ({"batch_size": 8}, "more_classes_than_batch", ("batch_size",)),
        (
            {"dataset": {"name": "cifar10", "train_samples": 9}, "batch_size": 9},
            "fewer_samples_than_classes",
            ("dataset", "train_samples"),
        ),
        (
            {"dataset": {"name": "cifar10", "validation": 1e-6}},
            "validation_empty",
            ("dataset", "validation"),
        ),
        ({"stop": {"max_iterations": 1_959}}, "max_iterations_first", ("stop", "max_iterations")),
        (
            {"schedule": {"warmup_iterations": 1_960}},
            "schedule_range",
            ("schedule", "warmup_iterations"),
        ),
        (
            {"schedule": {"name": "multi_step", "epochs": [5, 10], "gamma": 0.1}},
            "schedule_range",
            ("schedule", "epochs"),
        ),
        (
            {"schedule": {"name": "one_cycle", "max_lr": 1e-4}},
            "schedule_range",
            ("schedule", "max_lr"),
        ),
    ],
)
def test_a_plan_warns_with_code_and_place(changes: dict[str, Any], code: str, loc: Place) -> None:
    assert codes_of(plan_of(CIFAR, **changes))[code] == loc


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 64},
        {"batch_size": 1_024},
        {"batch_size": 256, "network": SMALL_CNN},
        {"dataset": {"name": "cifar10", "train_samples": 50}, "batch_size": "full"},
        {"optimizer": {"name": "sgd", "lr": 1}},
        {"optimizer": {"name": "rmsprop"}},
        {"stop": {"max_iterations": 1_960}},
        {"batch_size": 256, "dataset": {"name": "cifar10", "train_samples": 257}},
    ],
)
def test_what_is_usual_is_not_warned_of(changes: dict[str, Any]) -> None:
    assert codes_of(plan_of(CIFAR, **changes)) == {}


THIN = layered(
    {"flatten": {}}, {"linear": {"features": 8}}, {"batch_norm": {}}, {"linear": {"features": 10}}
)


@pytest.mark.parametrize(
    ("changes", "loc"),
    [
        ({"batch_size": 1}, ("batch_size",)),
        ({"batch_size": 1, "micro_batch_size": 1}, ("batch_size",)),
        ({"batch_size": 64, "micro_batch_size": 1}, ("micro_batch_size",)),
        ({"batch_size": 64, "micro_batch_size": 63}, ("micro_batch_size",)),
        ({"batch_size": "full", "dataset": {"name": "cifar10", "train_samples": 1}}, ("dataset",)),
    ],
)
def test_a_batch_norm_that_gets_one_value_a_channel_of_each_batch_is_refused(
    changes: dict[str, Any], loc: Place
) -> None:
    refusals = refusals_of(CIFAR, network=THIN, **changes)
    assert list(refusals) == [loc]
    assert "one sample, and batch_norm1 gets [8]" in refusals[loc]


def test_an_image_of_one_pixel_is_one_value_a_channel_too() -> None:
    pooled = layered({"max_pool": {"size": 32}}, {"batch_norm": {}}, *THIN["layers"])
    assert "[3, 1, 1]" in refusals_of(CIFAR, network=pooled, batch_size=1)["batch_size",]


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 49_999},
        {"batch_size": 256, "dataset": {"name": "cifar10", "train_samples": 257}},
        {
            "batch_size": 64,
            "micro_batch_size": 32,
            "dataset": {"name": "cifar10", "train_samples": 64 + 33},
        },
    ],
)
def test_one_value_a_channel_in_an_epoch_s_last_batch_is_only_warned_of(
    changes: dict[str, Any],
) -> None:
    assert "last_batch_of_one" in codes_of(plan_of(CIFAR, network=THIN, **changes))


def test_drop_last_cures_a_last_batch_of_one() -> None:
    cured = plan_of(CIFAR, batch_size=49_999, network=SMALL_CNN, drop_last=True)
    assert "last_batch_of_one" not in codes_of(cured)


def test_a_large_linear_network_needs_no_torch_to_be_planned() -> None:
    layers = layered({"flatten": {}}, {"linear": {"features": 10, "bias": False}})
    assert plan_of(CIFAR, network=layers).network.parameters == 30_720
