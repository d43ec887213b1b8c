"""Sizes and shapes of the data sets after a spec has had its say."""

from typing import Any

import pytest

from models.domain.datasets import DATASETS, DatasetFacts, describe_dataset
from models.domain.spec import parse_spec
from tests.specs import DIGITS, refusals_of


def facts(**dataset: object) -> DatasetFacts:
    return describe_dataset(parse_spec(DIGITS | {"dataset": dataset}).dataset)


@pytest.mark.parametrize(
    ("name", "train", "test", "shape", "classes"),
    [
        ("digits", 1_437, 360, (1, 8, 8), 10),
        ("mnist", 60_000, 10_000, (1, 28, 28), 10),
        ("fashion_mnist", 60_000, 10_000, (1, 28, 28), 10),
        ("cifar10", 50_000, 10_000, (3, 32, 32), 10),
        ("cifar100", 50_000, 10_000, (3, 32, 32), 100),
    ],
)
def test_named_data_sets_are_the_contract_s(
    name: str, train: int, test: int, shape: tuple[int, ...], classes: int
) -> None:
    assert facts(name=name) == DatasetFacts(train, 0, test, shape, classes)
    assert name in DATASETS


@pytest.mark.parametrize(
    ("validation", "held_out"), [(0, 0), (100, 100), (0.1, 143), (0.5, 718), (1_436, 1_436)]
)
def test_validation_is_held_out_of_the_training_samples(validation: float, held_out: int) -> None:
    described = facts(name="digits", validation=validation)
    assert described.validation_samples == held_out
    assert described.train_samples == 1_437 - held_out


def test_a_fraction_is_taken_as_it_is_written() -> None:
    """0.29 · 100 is 28.999999999999996 in binary: nobody who writes 0.29 of 100 means 28."""
    assert facts(name="digits", train_samples=100, validation=0.29).validation_samples == 29


def test_kept_samples_come_before_the_validation_set() -> None:
    described = facts(name="mnist", train_samples=1_000, test_samples=10, validation=0.25)
    assert described == DatasetFacts(750, 250, 10, (1, 28, 28), 10)


def test_resize_changes_height_and_width_alone() -> None:
    assert facts(name="cifar100", resize=[16, 24]).shape == (3, 16, 24)


def test_synthetic_is_what_its_spec_says() -> None:
    assert facts(name="synthetic", shape=[7], classes=3) == DatasetFacts(10_000, 0, 1_000, (7,), 3)


@pytest.mark.parametrize(
    ("dataset", "field", "said"),
    [
        ({"train_samples": 1_438}, "train_samples", "there are 1,437"),
        ({"test_samples": 361}, "test_samples", "there are 360"),
        ({"validation": 1_437}, "validation", "leaves none to train on"),
        ({"validation": 10, "train_samples": 10}, "validation", "10 of 10"),
    ],
)
def test_more_than_there_is_is_refused(dataset: dict[str, Any], field: str, said: str) -> None:
    refusals = refusals_of(DIGITS, dataset={"name": "digits"} | dataset)
    assert said in refusals["dataset", field]
