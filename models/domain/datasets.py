"""The data sets: sizes and shapes, known without their files."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import floor, prod
from types import MappingProxyType
from typing import Final

from foundation.settings import LimitsSettings
from models.domain.errors import Breach, Location, SpecInvalid
from models.domain.spec.dataset import DatasetName, DatasetSpec, OwnDataset, Synthetic

FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """Sizes after `train_samples`, `test_samples` and `validation`; shape after `resize`.

    `train_samples` is N: what is left to train on when the validation set is held out.
    """

    train_samples: int
    validation_samples: int
    test_samples: int
    shape: tuple[int, ...]
    classes: int


DATASETS: Final[Mapping[DatasetName, DatasetFacts]] = MappingProxyType(
    {
        "digits": DatasetFacts(1_437, 0, 360, (1, 8, 8), 10),
        "mnist": DatasetFacts(60_000, 0, 10_000, (1, 28, 28), 10),
        "fashion_mnist": DatasetFacts(60_000, 0, 10_000, (1, 28, 28), 10),
        "cifar10": DatasetFacts(50_000, 0, 10_000, (3, 32, 32), 10),
        "cifar100": DatasetFacts(50_000, 0, 10_000, (3, 32, 32), 100),
    }
)
"""The named data sets as they are; `synthetic` is what its spec says."""


def describe_dataset(dataset: DatasetSpec, limits: LimitsSettings | None = None) -> DatasetFacts:
    """What training will find: sizes, shape and classes.

    Raises:
        SpecInvalid: where more samples are asked for than there are, where `validation`
            leaves nothing to train on, or where the tensors need more than `limits` allows.

    """
    whole = _whole(dataset)
    kept = _kept(dataset.train_samples, whole.train_samples, ("dataset", "train_samples"))
    tested = _kept(dataset.test_samples, whole.test_samples, ("dataset", "test_samples"))
    held_out = _held_out(dataset.validation, kept)
    resize = None if isinstance(dataset, OwnDataset) else dataset.resize
    shape = (whole.shape[0], *resize) if resize else whole.shape
    facts = DatasetFacts(kept - held_out, held_out, tested, shape, whole.classes)
    if limits:
        _require_room(facts, max(prod(whole.shape), prod(shape)), limits)
    return facts


def _whole(dataset: DatasetSpec) -> DatasetFacts:
    if isinstance(dataset, Synthetic | OwnDataset):
        return DatasetFacts(
            dataset.train_samples, 0, dataset.test_samples, dataset.shape, dataset.classes
        )
    return DATASETS[dataset.name]


def _kept(wanted: int | None, there: int, loc: Location) -> int:
    if wanted is not None and wanted > there:
        raise SpecInvalid([Breach(loc, f"{wanted:,} are asked for and there are {there:,}")])
    return there if wanted is None else wanted


def _held_out(validation: float, samples: int) -> int:
    """A count, or a fraction rounded down: of the number as it is written, so that 0.29 of
    100 is 29 though 0.29 · 100 is a little less in binary.
    """
    count = (
        validation if isinstance(validation, int) else floor(Decimal(repr(validation)) * samples)
    )
    if count >= samples:
        message = f"holds out {count:,} of {samples:,} training samples and leaves none to train on"
        raise SpecInvalid([Breach(("dataset", "validation"), message)])
    return count


def _require_room(facts: DatasetFacts, numbers: int, limits: LimitsSettings) -> None:
    samples = facts.train_samples + facts.validation_samples + facts.test_samples
    needed = samples * numbers * FLOAT_BYTES
    if needed > limits.dataset_bytes:
        message = (
            f"{samples:,} samples of {numbers:,} numbers need {needed:,} bytes, more than the "
            f"limit of {limits.dataset_bytes:,}: keep fewer samples, or resize to less"
        )
        raise SpecInvalid([Breach(("dataset",), message)])
