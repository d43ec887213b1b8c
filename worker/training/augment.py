"""Random changes to training samples, drawn once an epoch and applied a batch at a time.

Legend: n samples of a batch, N of the epoch, c channels, h height, w width.

What happens to the sample at position p of epoch e is a pure function of (seed, e, p): an
epoch's random numbers are drawn on the CPU from their own stream, so the device, the batch
size's remainder and a resume change nothing, and a checkpoint holds none of it. Samples are
normalised already: what a crop or a cutout uncovers is 0, the training samples' mean.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from worker.training.order import stream


class Change(Protocol):
    """One kind of change, with the numbers that it drew for an epoch."""

    def draw(self, generator: torch.Generator, samples: int, device: torch.device) -> None:
        """Draw the epoch's numbers, one set a sample."""

    def apply(self, x_nchw: Tensor, start: int) -> Tensor:
        """Change the samples at positions start…start + n - 1 of the epoch."""


class RandomCrop:
    """Pads by `padding` on each side and cuts the old size out again, anywhere."""

    def __init__(self, options: dict[str, Any], shape_chw: Sequence[int]) -> None:
        self.padding = int(options["padding"])
        self.height, self.width = int(shape_chw[1]), int(shape_chw[2])

    def draw(self, generator: torch.Generator, samples: int, device: torch.device) -> None:
        offsets = torch.randint(2 * self.padding + 1, (samples, 2), generator=generator)
        self.offsets_n2 = offsets.to(device)
        self.rows_h = torch.arange(self.height, device=device)
        self.columns_w = torch.arange(self.width, device=device)

    def apply(self, x_nchw: Tensor, start: int) -> Tensor:
        pad = self.padding
        padded = torch.nn.functional.pad(x_nchw, (pad, pad, pad, pad))
        count = x_nchw.shape[0]
        offsets = self.offsets_n2[start : start + count]
        rows = (offsets[:, :1] + self.rows_h)[:, None, :, None]
        columns = (offsets[:, 1:] + self.columns_w)[:, None, None, :]
        samples = torch.arange(count, device=x_nchw.device)[:, None, None, None]
        channels = torch.arange(x_nchw.shape[1], device=x_nchw.device)[None, :, None, None]
        return padded[samples, channels, rows, columns]


class RandomHorizontalFlip:
    """Mirrors a sample left to right with probability `p`."""

    def __init__(self, options: dict[str, Any], _shape_chw: Sequence[int]) -> None:
        self.p = float(options["p"])

    def draw(self, generator: torch.Generator, samples: int, device: torch.device) -> None:
        self.flipped_n = (torch.rand(samples, generator=generator) < self.p).to(device)

    def apply(self, x_nchw: Tensor, start: int) -> Tensor:
        flipped = self.flipped_n[start : start + x_nchw.shape[0], None, None, None]
        return torch.where(flipped, x_nchw.flip(3), x_nchw)


class Cutout:
    """Blanks a square of `size` pixels around a random centre; it may hang over the edge."""

    def __init__(self, options: dict[str, Any], shape_chw: Sequence[int]) -> None:
        self.size = int(options["size"])
        self.height, self.width = int(shape_chw[1]), int(shape_chw[2])

    def draw(self, generator: torch.Generator, samples: int, device: torch.device) -> None:
        rows = torch.randint(self.height, (samples, 1), generator=generator)
        columns = torch.randint(self.width, (samples, 1), generator=generator)
        self.rows_nh = self._covered(rows, self.height).to(device)
        self.columns_nw = self._covered(columns, self.width).to(device)

    def _covered(self, centres_n1: Tensor, length: int) -> Tensor:
        first = centres_n1 - self.size // 2
        places = torch.arange(length)
        return (places >= first) & (places < first + self.size)

    def apply(self, x_nchw: Tensor, start: int) -> Tensor:
        stop = start + x_nchw.shape[0]
        rows, columns = self.rows_nh[start:stop], self.columns_nw[start:stop]
        covered = rows[:, None, :, None] & columns[:, None, None, :]
        return x_nchw.masked_fill(covered, 0)


_KINDS: dict[str, type[RandomCrop | RandomHorizontalFlip | Cutout]] = {
    "random_crop": RandomCrop,
    "random_horizontal_flip": RandomHorizontalFlip,
    "cutout": Cutout,
}


class Augmentation:
    """A spec's `augment` list, in its order.

    Args:
        steps: the resolved list, such as `[{"cutout": {"size": 8}}]`.
        shape_chw: of one sample.
        seed: the job's.
        device: where the samples lie.

    """

    def __init__(
        self,
        steps: Sequence[dict[str, dict[str, Any]]],
        shape_chw: Sequence[int],
        seed: int,
        device: torch.device,
    ) -> None:
        self.seed, self.device = seed, device
        self.changes: list[Change] = [
            _KINDS[kind](options, shape_chw) for step in steps for kind, options in step.items()
        ]

    def begin_epoch(self, epoch: int, samples: int) -> None:
        """Draw every number of the epoch; nothing is drawn later."""
        for place, change in enumerate(self.changes):
            change.draw(stream(self.seed, f"augment/{place}", epoch), samples, self.device)

    def __call__(self, x_nchw: Tensor, start: int) -> Tensor:
        """Change a batch whose first sample is at position `start` of the epoch."""
        for change in self.changes:
            x_nchw = change.apply(x_nchw, start)
        return x_nchw
