"""What can be trained on, and the networks that have names."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from models.domain.datasets import DATASETS, DatasetFacts, describe_dataset
from models.domain.presets import PRESETS
from models.domain.spec.dataset import Synthetic
from models.schemas.catalogue import Dataset, Network

# A named network's last layer takes the data set's classes; here it is shown with ten.
SHOWN_CLASSES = 10

_IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_IDX = tuple((name, f"{name}.gz") for name in _IDX_FILES)

FILES: Mapping[str, Sequence[Sequence[str]]] = {
    "digits": (),
    "mnist": _IDX,
    "fashion_mnist": _IDX,
    "cifar10": (("cifar-10-batches-bin", "cifar-10-binary.tar.gz"),),
    "cifar100": (("cifar-100-binary", "cifar-100-binary.tar.gz"),),
}
"""What a data set needs in its folder: one of each row's. `digits` comes with the service."""


def list_datasets(folder: Path) -> Sequence[Dataset]:
    """List the data sets; those whose files lie in `folder` need no download."""
    return list(_datasets(folder))


def list_networks() -> Sequence[Network]:
    """List the named networks in the layer language."""
    return [
        Network(
            name=name,
            layers=[layer.model_dump(mode="json") for layer in preset.build(SHOWN_CLASSES)],
            min_size=preset.min_size,
        )
        for name, preset in PRESETS.items()
    ]


def _datasets(folder: Path) -> Iterator[Dataset]:
    synthetic = describe_dataset(Synthetic(name="synthetic"))
    known: list[tuple[str, DatasetFacts]] = [*DATASETS.items(), ("synthetic", synthetic)]
    for name, facts in known:
        yield Dataset(
            name=name,
            train_samples=facts.train_samples,
            test_samples=facts.test_samples,
            shape=list(facts.shape),
            classes=facts.classes,
            available=_available(folder / name, FILES.get(name, ())),
        )


def _available(folder: Path, needed: Sequence[Sequence[str]]) -> bool:
    return all(any((folder / name).exists() for name in either) for either in needed)
