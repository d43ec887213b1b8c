"""From a spec's data set to tensors: sizes, choices by seed, normalisation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits as sklearn_digits

from models.domain.datasets import describe_dataset
from models.domain.spec import parse_spec
from worker.training.data.digits import load_digits
from worker.training.data.loading import Data, load_data
from worker.training.data.make_digits import split

CPU = torch.device("cpu")


def load(**dataset: Any) -> Data:  # noqa: ANN401 - fields of a data set
    raw = {"dataset": dataset, "network": {"name": "linear"}, "epochs": 1}
    spec = parse_spec(raw).dataset
    facts = describe_dataset(spec)
    data = load_data(spec.filled(), facts.validation_samples, Path(), CPU, lambda: None)
    held = 0 if data.validation is None else len(data.validation)
    found = len(data.train), held, len(data.test), data.shape, data.classes
    assert found == (
        facts.train_samples,
        facts.validation_samples,
        facts.test_samples,
        facts.shape,
        facts.classes,
    )
    return data


def test_the_kept_digits_are_scikit_learns() -> None:
    whole = sklearn_digits()
    test = split(whole.target)
    raw = load_digits()
    assert np.array_equal(raw.train_nchw[:, 0].numpy(), whole.images[~test])
    assert np.array_equal(raw.test_nchw[:, 0].numpy(), whole.images[test])
    assert np.array_equal(raw.train_labels_n.numpy(), whole.target[~test])
    assert np.array_equal(raw.test_labels_n.numpy(), whole.target[test])


def test_the_digits_split_is_stratified() -> None:
    raw = load_digits()
    assert (len(raw.train_labels_n), len(raw.test_labels_n)) == (1437, 360)
    counts = torch.bincount(torch.cat([raw.train_labels_n, raw.test_labels_n]))
    shares = torch.bincount(raw.test_labels_n) / counts
    assert float(shares.min()) > 0.19
    assert float(shares.max()) < 0.21


def test_training_samples_are_normalised_by_their_own_statistics() -> None:
    data = load(name="synthetic", shape=[3, 4, 4], train_samples=500, test_samples=50)
    x = data.normalise(data.train.images)
    assert x.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0.0] * 3, abs=1e-5)
    assert x.std(dim=(0, 2, 3), correction=0).tolist() == pytest.approx([1.0] * 3, abs=1e-5)


def test_without_normalisation_a_pixel_is_its_share_of_a_full_one() -> None:
    data = load(name="digits", normalize=False)
    x = data.normalise(data.train.images)
    assert (x.min().item(), x.max().item()) == (0.0, 1.0)


def test_samples_of_plain_features_are_normalised_too() -> None:
    data = load(name="synthetic", shape=[5], train_samples=300)
    assert data.normalise(data.train.images).mean(dim=0).tolist() == pytest.approx(
        [0.0] * 5, abs=1e-5
    )


def test_resizing_is_torchs_bilinear() -> None:
    small, large = load(name="digits"), load(name="digits", resize=[16, 12])
    expected = torch.nn.functional.interpolate(small.test.images.float(), (16, 12), mode="bilinear")
    assert torch.equal(large.test.images, expected)
    assert large.shape == (1, 16, 12)


def as_set(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def test_validation_and_training_samples_are_apart_and_are_the_whole() -> None:
    whole = load(name="digits")
    data = load(name="digits", validation=0.1, split_seed=3)
    assert data.validation is not None
    assert len(data.validation) == 143
    train, held = as_set(data.train.images), as_set(data.validation.images)
    assert train | held == as_set(whole.train.images)
    assert torch.equal(data.test.images, whole.test.images)


def test_what_is_drawn_depends_on_the_split_seed_alone() -> None:
    choices: list[dict[str, Any]] = [{"split_seed": 1}, {"split_seed": 1}, {"split_seed": 2}]
    first, again, other = (
        load(name="digits", train_samples=100, test_samples=20, validation=7, **choice)
        for choice in choices
    )
    assert first.sha256 == again.sha256
    assert first.sha256 != other.sha256
    assert torch.equal(first.train.images, again.train.images)


def test_synthetic_samples_are_the_same_each_time_and_can_be_told_apart() -> None:
    first = load(name="synthetic", shape=[1, 6, 6], classes=4, train_samples=400)
    again = load(name="synthetic", shape=[1, 6, 6], classes=4, train_samples=400)
    assert first.sha256 == again.sha256
    centres = torch.stack(
        [first.train.images[first.train.labels == label].mean(0) for label in range(4)]
    )
    distances = (first.test.images[:, None] - centres[None]).square().sum((2, 3, 4))
    right = (distances.argmin(1) == first.test.labels).float().mean().item()
    assert right > 0.95


def test_fewer_synthetic_samples_than_classes_are_made() -> None:
    data = load(name="synthetic", shape=[2], classes=50, train_samples=10, test_samples=5)
    assert data.train.labels.tolist() == list(range(10))
