"""Augmentation: what each kind does, and that nothing but seed, epoch and place decides."""

from typing import Any

import pytest
import torch
from torch import Tensor

from worker.training.augment import Augmentation

SHAPE = (2, 6, 5)
CPU = torch.device("cpu")


def augmentation(*steps: dict[str, Any], seed: int = 0) -> Augmentation:
    return Augmentation(steps, SHAPE, seed, CPU)


def samples(count: int = 8) -> Tensor:
    return torch.arange(count * 60, dtype=torch.float32).reshape(count, *SHAPE) + 1


CROP = {"random_crop": {"padding": 2}}
FLIP = {"random_horizontal_flip": {"p": 0.5}}
CUTOUT = {"cutout": {"size": 3}}


def test_a_crop_is_a_shifted_view_padded_with_zeros() -> None:
    augment = augmentation(CROP)
    augment.begin_epoch(1, 8)
    x = samples()
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2))
    for place, cropped in enumerate(augment(x, 0)):
        views = [padded[place, :, i : i + 6, j : j + 5] for i in range(5) for j in range(5)]
        assert any(torch.equal(cropped, view) for view in views)


def test_a_flip_mirrors_some_samples_and_leaves_others() -> None:
    augment = augmentation(FLIP)
    augment.begin_epoch(1, 64)
    x = samples(64)
    flipped = [
        torch.equal(after, before.flip(2)) for after, before in zip(augment(x, 0), x, strict=True)
    ]
    kept = [torch.equal(after, before) for after, before in zip(augment(x, 0), x, strict=True)]
    assert 10 < sum(flipped) < 54
    assert sum(flipped) + sum(kept) == 64


def test_a_cutout_blanks_one_rectangle_of_at_most_its_size() -> None:
    augment = augmentation(CUTOUT)
    augment.begin_epoch(1, 8)
    for sample in augment(samples(), 0):
        blank = sample[0] == 0
        assert torch.equal(blank, sample[1] == 0)
        rows, columns = blank.any(dim=1), blank.any(dim=0)
        assert 1 <= int(rows.sum()) <= 3
        assert int(blank.sum()) == int(rows.sum()) * int(columns.sum())


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_what_happens_to_a_sample_does_not_depend_on_the_batch_size(batch_size: int) -> None:
    augment = augmentation(CROP, FLIP, CUTOUT)
    augment.begin_epoch(4, 8)
    x = samples()
    parts = [augment(x[start : start + batch_size], start) for start in range(0, 8, batch_size)]
    assert torch.equal(torch.cat(parts), augment(x, 0))


def test_epochs_differ_and_repeat() -> None:
    augment = augmentation(CROP, FLIP, CUTOUT)
    seen = []
    for epoch in (1, 2, 1):
        augment.begin_epoch(epoch, 8)
        seen.append(augment(samples(), 0))
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], seen[1])
