"""CIFAR's binary version: records of label bytes and 3 · 32 · 32 pixels. No pickle anywhere."""

import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from worker.training.data.fetch import fetch
from worker.training.data.raw import Alive, RawData
from worker.training.errors import DatasetCorrupt

_PIXELS = 3 * 32 * 32


@dataclass(frozen=True, slots=True)
class CifarFiles:
    """What the official archive holds; the last label byte of a record is the class."""

    archive: str
    md5: str
    folder: str
    train: tuple[str, ...]
    test: str
    train_records: int
    test_records: int
    label_bytes: int
    classes: int


CIFAR = {
    "cifar10": CifarFiles(
        archive="cifar-10-binary.tar.gz",
        md5="c32a1d4ab5d03f1284b67883e8d87530",
        folder="cifar-10-batches-bin",
        train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        test="test_batch.bin",
        train_records=10_000,
        test_records=10_000,
        label_bytes=1,
        classes=10,
    ),
    "cifar100": CifarFiles(
        archive="cifar-100-binary.tar.gz",
        md5="03b5dce01913d631647c71ecec9e9cb8",
        folder="cifar-100-binary",
        train=("train.bin",),
        test="test.bin",
        train_records=50_000,
        test_records=10_000,
        label_bytes=2,
        classes=100,
    ),
}


def load_cifar(name: str, datasets: Path, alive: Alive) -> RawData:
    """Load "cifar10" or "cifar100" from `datasets/<name>`: the archive, or its unpacked folder."""
    files = CIFAR[name]
    return read_cifar(files, datasets / name, alive)


def read_cifar(files: CifarFiles, folder: Path, alive: Alive) -> RawData:
    """Read the files that `files` describes.

    Raises:
        DatasetMissing: neither archive nor unpacked folder, nor a network.
        DatasetCorrupt: names the file and what is wrong with it.

    """
    sizes = dict.fromkeys(files.train, files.train_records) | {files.test: files.test_records}
    records = {name: count * (files.label_bytes + _PIXELS) for name, count in sizes.items()}
    if (folder / files.folder).is_dir():
        contents = _from_folder(folder / files.folder, records, alive)
    else:
        url = f"https://www.cs.toronto.edu/~kriz/{files.archive}"
        path = fetch(folder, files.archive, url, files.md5, alive)
        contents = _from_archive(path, files.folder, records, alive)
    parts = {name: _parse(name, folder, files, content) for name, content in contents.items()}
    train = [parts[name] for name in files.train]
    test, test_labels = parts[files.test]
    return RawData(
        torch.cat([images for images, _ in train]),
        torch.cat([labels for _, labels in train]),
        test,
        test_labels,
        classes=files.classes,
        full=255.0,
    )


def _from_folder(folder: Path, sizes: dict[str, int], alive: Alive) -> dict[str, bytes]:
    contents = {}
    for name, size in sizes.items():
        alive()
        try:
            with (folder / name).open("rb") as file:
                contents[name] = _exactly(file, size, name, folder)
        except FileNotFoundError as failure:
            raise DatasetCorrupt(name, folder, "it is not there") from failure
    return contents


def _from_archive(path: Path, inner: str, sizes: dict[str, int], alive: Alive) -> dict[str, bytes]:
    """Read the named members, and no more bytes of each than it must have."""
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                alive()
                name = member.name.removeprefix("./").removeprefix(f"{inner}/")
                file = archive.extractfile(member) if name in sizes and member.isreg() else None
                if file is not None:
                    contents[name] = _exactly(file, sizes[name], name, path.parent)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as failure:
        raise DatasetCorrupt(path.name, path.parent, str(failure)) from failure
    for name in sizes:
        if name not in contents:
            raise DatasetCorrupt(path.name, path.parent, f"{inner}/{name} is not in it")
    return contents


def _exactly(file: IO[bytes], size: int, name: str, folder: Path) -> bytes:
    content = file.read(size + 1)
    if len(content) != size:
        raise DatasetCorrupt(name, folder, f"it should hold {size} bytes")
    return content


def _parse(name: str, folder: Path, files: CifarFiles, content: bytes) -> tuple[Tensor, Tensor]:
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, files.label_bytes + _PIXELS)
    labels = records[:, files.label_bytes - 1].astype(np.int64)
    if labels.size and int(labels.max()) >= files.classes:
        raise DatasetCorrupt(name, folder, f"a label is above {files.classes - 1}")
    images = records[:, files.label_bytes :].reshape(-1, 3, 32, 32)
    return torch.from_numpy(images.copy()), torch.from_numpy(labels)
