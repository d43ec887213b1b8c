"""What is trained on, and how its samples are prepared."""

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, Tag, model_validator

from models.domain.spec.entrypoint import EntryPoint
from models.domain.spec.part import (
    LARGEST_COUNT,
    OWN,
    Count,
    Part,
    Positive,
    Size,
    by_name,
    by_type,
)

DatasetName = Literal["digits", "mnist", "fashion_mnist", "cifar10", "cifar100"]
DATASET_NAMES: tuple[DatasetName, ...] = get_args(DatasetName)
IMAGE_DIMENSIONS = 3

Resize = Annotated[tuple[Size, Size], Field(strict=False)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
Share = Annotated[float, Field(ge=0, lt=1)]


def _whole_zero(value: float) -> float:
    return value or 0


Validation = Annotated[
    Annotated[Count, Tag("\0count")] | Annotated[Share, Tag("\0share")],
    by_type(count=int, share=float),
    AfterValidator(_whole_zero),
]
"""A count of samples, or a fraction below 1 of them."""


class Dataset(Part):
    """A data set whose sizes are known without its files."""

    name: DatasetName
    resize: Resize | None = None
    normalize: bool = True
    train_samples: Positive | None = None
    test_samples: Positive | None = None
    validation: Validation = 0
    split_seed: Seed = 0


class Synthetic(Part):
    """Samples that the trainer makes up from `split_seed`: learnable, of any shape."""

    name: Literal["synthetic"]
    shape: Annotated[tuple[Size, ...], Field(strict=False, min_length=1, max_length=3)] = (
        1,
        28,
        28,
    )
    classes: Annotated[int, Field(ge=2, le=1_000_000)] = 10
    resize: Resize | None = None
    normalize: bool = True
    train_samples: Positive = 10_000
    test_samples: Positive = 1_000
    validation: Validation = 0
    split_seed: Seed = 0

    @model_validator(mode="after")
    def _shape_is_features_or_image(self) -> "Synthetic":
        if len(self.shape) not in (1, IMAGE_DIMENSIONS):
            raise ValueError("shape is [features] or [channels, height, width]")
        if self.resize and len(self.shape) != IMAGE_DIMENSIONS:
            raise ValueError("resize needs a shape of [channels, height, width]")
        return self


class OwnDataset(EntryPoint):
    """Returns (train, test), each a map-style data set or a pair of tensors.

    What it holds is said here, for the plan, and held against what is found by the trainer.
    `normalize`: by mean and standard deviation a channel; otherwise samples are used as they
    are, bytes divided by 255.
    """

    shape: Annotated[tuple[Size, ...], Field(strict=False, min_length=1, max_length=4)]
    classes: Annotated[int, Field(ge=2, le=1_000_000)]
    train_samples: Positive
    test_samples: Positive
    normalize: bool = False
    validation: Validation = 0
    split_seed: Seed = 0


DatasetSpec = Annotated[
    Annotated[Dataset, Tag("\0digits")]
    | Annotated[Dataset, Tag("\0mnist")]
    | Annotated[Dataset, Tag("\0fashion_mnist")]
    | Annotated[Dataset, Tag("\0cifar10")]
    | Annotated[Dataset, Tag("\0cifar100")]
    | Annotated[Synthetic, Tag("\0synthetic")]
    | Annotated[OwnDataset, Tag(OWN)],
    by_name(*DATASET_NAMES, "synthetic"),
]
