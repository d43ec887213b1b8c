"""Data."""

import torch
from torch import Tensor
from torch.utils.data import Dataset


class Stripes(Dataset[tuple[Tensor, int]]):
    """Pictures of 8 by 8 pixels whose class is the direction of their stripes."""

    def __init__(self, samples: int, seed: int, noise: float) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(4, (samples,), generator=generator)
        self.shifts = torch.randint(8, (samples,), generator=generator)
        self.noise = noise * torch.randn(samples, 1, 8, 8, generator=generator)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
        label = int(self.labels[place])
        along = (rows, columns, rows + columns, rows - columns)[label] + self.shifts[place]
        stripes = (along % 4 < 2).float()  # noqa: PLR2004 - half of a period of 4
        return stripes + self.noise[place], label


def load(*, train: int = 256, test: int = 64, noise: float = 0.3) -> tuple[Stripes, Stripes]:
    """Return what is trained on, and what is tested on."""
    return Stripes(train, 1, noise), Stripes(test, 2, noise)
