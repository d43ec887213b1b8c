"""From a spec's `dataset` to tensors on the training device.

Legend: n samples, N training samples, c channels, h height, w width.
"""

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worker.training.data.cifar import load_cifar
from worker.training.data.digits import load_digits
from worker.training.data.idx import load_idx
from worker.training.data.own import load_own
from worker.training.data.raw import Alive, RawData
from worker.training.data.synthetic import make_synthetic
from worker.training.order import drawn

_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Split:
    """Samples [n, c, h, w] as the source has them (uint8, float32 or int64), labels int64 [n].

    Those of a team's own may have any shape.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def to(self, device: torch.device) -> "Split":
        return Split(self.images.to(device), self.labels.to(device))

    def take(self, index: Tensor) -> "Split":
        return Split(self.images[index], self.labels[index])


@dataclass(frozen=True, slots=True)
class Data:
    """All that a job trains on and is measured with, on its device.

    `mean` and `std` hold a number a channel, [1, c, 1, 1], in the source's units: a network's
    input is (pixel - mean) / std. Without `normalize` that is pixel / its full value. `sha256`
    is of the samples and labels that the job uses, before they are normalised.
    """

    train: Split
    validation: Split | None
    test: Split
    classes: int
    mean: Tensor
    std: Tensor
    sha256: str

    def normalise(self, images: Tensor) -> Tensor:
        """Return samples as a network takes them, float32; the arithmetic of network.py.

        Whole numbers are no measurements, and are taken as they are.
        """
        if images.dtype is torch.int64:
            return images
        return (images.float() - self.mean).div_(self.std)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return tuple(self.train.images.shape[1:])


def load_data(
    dataset: dict[str, Any],
    validation_samples: int,
    datasets_folder: Path,
    device: torch.device,
    alive: Alive,
    *,
    packages: Collection[str] = (),
) -> Data:
    """Load what a spec's resolved `dataset` describes.

    `validation_samples` is what its `validation` comes to. `train_samples` are drawn from the
    source's training samples, validation from those, both by `split_seed`; what is drawn keeps
    the source's order. `packages` are those whose code it may name.

    Raises:
        DatasetMissing: no file and no network.
        DatasetCorrupt: a file is not what it should be.
        EntryPointRefused, EntryPointMissing, EntryPointUnfit: of a team's own.

    """
    raw = _load_raw(dataset, datasets_folder, alive, packages)
    seed = int(dataset["split_seed"])
    train = _fewer(Split(raw.train_nchw, raw.train_labels_n), dataset, "train", seed)
    test = _fewer(Split(raw.test_nchw, raw.test_labels_n), dataset, "test", seed)
    train, validation = _hold_out(train, validation_samples, seed)
    splits = [train, test] if validation is None else [train, test, validation]
    if dataset.get("resize") is not None:
        splits = [_resized(split, dataset["resize"], alive) for split in splits]
    mean, std = _normalisation(splits[0].images, raw.full, alive, on=bool(dataset["normalize"]))
    sha256 = _hash(splits, alive)
    moved = [split.to(device) for split in splits]
    return Data(
        train=moved[0],
        test=moved[1],
        validation=moved[2] if validation is not None else None,
        classes=raw.classes,
        mean=mean.to(device),
        std=std.to(device),
        sha256=sha256,
    )


def _load_raw(
    dataset: dict[str, Any], folder: Path, alive: Alive, packages: Collection[str]
) -> RawData:
    alive()
    if "entrypoint" in dataset:
        return load_own(dataset, packages, alive)
    name = str(dataset["name"])
    sources: dict[str, Callable[[], RawData]] = {
        "digits": load_digits,
        "mnist": lambda: load_idx(name, folder, alive),
        "fashion_mnist": lambda: load_idx(name, folder, alive),
        "cifar10": lambda: load_cifar(name, folder, alive),
        "cifar100": lambda: load_cifar(name, folder, alive),
        "synthetic": lambda: _synthetic(dataset, alive),
    }
    return sources[name]()


def _synthetic(dataset: dict[str, Any], alive: Alive) -> RawData:
    sizes = int(dataset["train_samples"]), int(dataset["test_samples"])
    shape, classes = tuple(dataset["shape"]), int(dataset["classes"])
    return make_synthetic(shape, classes, sizes, int(dataset["split_seed"]), alive)


def _fewer(split: Split, dataset: dict[str, Any], which: str, seed: int) -> Split:
    keep = dataset[f"{which}_samples"]
    if keep is None or keep >= len(split):
        return split
    return split.take(drawn(seed, f"{which}_samples", len(split), keep))


def _hold_out(train: Split, count: int, seed: int) -> tuple[Split, Split | None]:
    if count == 0:
        return train, None
    chosen = torch.zeros(len(train), dtype=torch.bool)
    chosen[drawn(seed, "validation", len(train), count)] = True
    return train.take(~chosen), train.take(chosen)


def _resized(split: Split, size: list[int], alive: Alive) -> Split:
    parts = []
    for images in torch.split(split.images, _CHUNK):
        alive()
        parts.append(
            torch.nn.functional.interpolate(
                images.float(), size=tuple(size), mode="bilinear", align_corners=False
            )
        )
    return Split(torch.cat(parts), split.labels)


def _normalisation(images: Tensor, full: float, alive: Alive, *, on: bool) -> tuple[Tensor, Tensor]:
    """Return each channel's mean and standard deviation, summed in float64; std 0 counts as 1."""
    channels = images.shape[1]
    shape = (1, channels, *(1,) * (images.dim() - 2))
    if not on:
        return torch.zeros(shape), torch.full(shape, full)
    count = images.numel() // channels
    sums, squares = torch.zeros(2, channels, dtype=torch.float64)
    for part in torch.split(images, _CHUNK):
        alive()
        sums += _channel_sums(part.double())
    mean = (sums / count).reshape(shape)
    for part in torch.split(images, _CHUNK):
        alive()
        squares += _channel_sums((part.double() - mean).square())
    std = (squares / count).sqrt().reshape(shape)
    std[std == 0] = 1.0
    return mean.float(), std.float()


def _channel_sums(values: Tensor) -> Tensor:
    return values.sum([axis for axis in range(values.dim()) if axis != 1])


def _hash(splits: list[Split], alive: Alive) -> str:
    digest = hashlib.sha256()
    for split in splits:
        for tensor in (split.images, split.labels):
            digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            for part in torch.split(tensor.contiguous(), _CHUNK):
                alive()
                digest.update(part.numpy().data)
    return digest.hexdigest()
