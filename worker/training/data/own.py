"""A data set of a team's own: read once, held to what the spec says of it.

Legend: n samples.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worker.training.data.raw import Alive, RawData
from worker.training.entrypoints import make
from worker.training.errors import EntryPointUnfit
from worker.training.randomness import seed_everything

_PIXELS = 255.0
_WHOLE = frozenset({torch.int16, torch.int32, torch.int64})
"""Samples of these count something, such as words: only a network of a team's own takes them."""


def load_own(dataset: dict[str, Any], packages: Collection[str], alive: Alive) -> RawData:
    """Call a spec's entry point, which returns (train, test), and read both.

    Each is a pair of tensors or arrays, samples and labels, or a map-style data set, of which
    every item is read once: what it draws at random is the same in every epoch.

    Raises:
        EntryPointUnfit: it is not what the spec says, or can't be trained on.

    """
    name = str(dataset["entrypoint"])
    # What it draws decides what is trained on, so it draws the same in every attempt.
    seed_everything(int(dataset["split_seed"]))
    made = make(dataset, packages)
    if not isinstance(made, tuple | list) or len(made) != 2:  # noqa: PLR2004 - train and test
        raise EntryPointUnfit(name, f"(train, test) is expected, not {_said(made)}")
    reader = _Reader(name, tuple(dataset["shape"]), int(dataset["classes"]), alive)
    train = reader.read("train", made[0], int(dataset["train_samples"]))
    test = reader.read("test", made[1], int(dataset["test_samples"]))
    kinds = {train[0].dtype, test[0].dtype}
    if len(kinds) > 1:
        raise EntryPointUnfit(name, f"train and test samples are of unlike types: {kinds}")
    if train[0].dtype in _WHOLE and dataset["normalize"]:
        raise EntryPointUnfit(name, "whole numbers are no measurements: set normalize to false")
    full = _PIXELS if train[0].dtype is torch.uint8 else 1.0
    return RawData(*train, *test, classes=int(dataset["classes"]), full=full)


class _Reader:
    def __init__(self, name: str, shape: tuple[int, ...], classes: int, alive: Alive) -> None:
        self._name, self._shape, self._classes = name, shape, classes
        self._alive = alive

    def read(self, which: str, part: Any, expected: int) -> tuple[Tensor, Tensor]:  # noqa: ANN401 - theirs
        """Return samples, float32, uint8 or int64, and labels."""
        pair = _as_pair(part)
        samples = len(pair[1] if pair else part) if pair or hasattr(part, "__len__") else None
        if samples != expected:
            raise self._unfit(f"{which} holds {samples} samples, the spec says {expected}")
        x, labels = pair or self._items(which, part, expected)
        if tuple(x.shape) != (expected, *self._shape):
            shape = list(x.shape[1:])
            raise self._unfit(f"{which} samples are {shape}, the spec says {list(self._shape)}")
        return self._samples(which, x), self._labels(which, labels)

    def _items(self, which: str, part: Any, count: int) -> tuple[Tensor, Tensor]:  # noqa: ANN401 - theirs
        """Read a map-style data set into one tensor, which is made once."""
        samples, labels = torch.empty(0), torch.empty(count, dtype=torch.int64)
        for place in range(count):
            self._alive()
            try:
                sample, label = part[place]
                sample, label = torch.as_tensor(sample), torch.as_tensor(label)
            except (TypeError, ValueError) as error:
                text = f"{which} item {place} is no pair of a sample and its label: {error}"
                raise self._unfit(text) from error
            if place == 0:
                samples = torch.empty(count, *self._shape, dtype=sample.dtype)
            if tuple(sample.shape) != self._shape or sample.dtype != samples.dtype:
                found = f"{list(sample.shape)} of {sample.dtype}"
                wanted = f"{list(self._shape)} of {samples.dtype}"
                raise self._unfit(f"{which} item {place} is {found}, not {wanted}")
            if label.numel() != 1 or label.is_floating_point():
                raise self._unfit(f"{which} item {place} has a label that is no class: {label}")
            samples[place], labels[place] = sample, label.reshape(())
        return samples, labels

    def _samples(self, which: str, x: Tensor) -> Tensor:
        if x.dtype is torch.uint8:
            return x.contiguous()
        if x.dtype in _WHOLE:
            return x.long().contiguous()
        if not x.is_floating_point():
            raise self._unfit(f"{which} samples are {x.dtype}: bytes, whole numbers or floats fit")
        return x.float().contiguous()

    def _labels(self, which: str, labels: Tensor) -> Tensor:
        if labels.dtype not in {*_WHOLE, torch.uint8, torch.int8} or labels.dim() != 1:
            raise self._unfit(
                f"{which} labels are {labels.dtype} {list(labels.shape)}: one whole number, the "
                "class, is expected of each sample"
            )
        labels = labels.long()
        least, most = int(labels.min()), int(labels.max())
        if least < 0 or most >= self._classes:
            raise self._unfit(
                f"{which} labels go from {least} to {most}: classes are 0 to {self._classes - 1}"
            )
        return labels

    def _unfit(self, detail: str) -> EntryPointUnfit:
        return EntryPointUnfit(self._name, detail)


def _as_pair(part: object) -> tuple[Tensor, Tensor] | None:
    tensors = getattr(part, "tensors", part)
    if not isinstance(tensors, tuple | list) or len(tensors) != 2:  # noqa: PLR2004 - samples, labels
        return None
    if not all(isinstance(each, Tensor | np.ndarray) for each in tensors):
        return None
    return torch.as_tensor(tensors[0]).cpu(), torch.as_tensor(tensors[1]).cpu()


def _said(made: object) -> str:
    length = f" of {len(made)}" if isinstance(made, tuple | list) else ""
    return f"a {type(made).__name__}{length}"
