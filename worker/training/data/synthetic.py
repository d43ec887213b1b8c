"""Made-up samples that can be learned: a pattern a class, and noise around it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from worker.training.data.raw import Alive, RawData
from worker.training.order import stream

_NOISE = 1.0
_CHUNK = 4096


def make_synthetic(
    shape: Sequence[int], classes: int, sizes: tuple[int, int], seed: int, alive: Alive
) -> RawData:
    """Make training and test samples, float32 of `shape`, from (shape, classes, sizes, seed).

    Labels go round (sample i is of class i modulo `classes`), so every class is there where the
    samples suffice; an epoch's order shuffles them.
    """
    patterns = torch.randn(classes, *shape, generator=stream(seed, "synthetic/patterns"))
    train, train_labels = _samples(patterns, sizes[0], stream(seed, "synthetic/train"), alive)
    test, test_labels = _samples(patterns, sizes[1], stream(seed, "synthetic/test"), alive)
    return RawData(train, train_labels, test, test_labels, classes=classes, full=1.0)


def _samples(
    patterns: Tensor, count: int, generator: torch.Generator, alive: Alive
) -> tuple[Tensor, Tensor]:
    labels = torch.arange(count) % patterns.shape[0]
    samples = torch.empty(count, *patterns.shape[1:])
    for start in range(0, count, _CHUNK):
        alive()
        part = samples[start : start + _CHUNK]
        part.normal_(0.0, _NOISE, generator=generator)
        part += patterns[labels[start : start + _CHUNK]]
    return samples, labels
