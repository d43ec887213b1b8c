"""MNIST's file format: a big-endian header (magic number, sizes), then bytes."""

import gzip
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worker.training.data.fetch import fetch
from worker.training.data.raw import Alive, RawData
from worker.training.errors import DatasetCorrupt

_UNSIGNED_BYTES = 8

_URLS = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "fashion_mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
}
_MD5 = {
    "mnist": {
        "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
    },
}


def load_idx(name: str, datasets: Path, alive: Alive) -> RawData:
    """Load "mnist" or "fashion_mnist" from `datasets/<name>`, its four files gzipped or not."""

    def part(prefix: str, samples: int) -> tuple[Tensor, Tensor]:
        images = _read(name, f"{prefix}-images-idx3-ubyte", datasets, (samples, 28, 28), alive)
        labels = _read(name, f"{prefix}-labels-idx1-ubyte", datasets, (samples,), alive)
        if int(labels.max()) > 9:  # noqa: PLR2004 - ten classes
            raise DatasetCorrupt(
                f"{prefix}-labels-idx1-ubyte", datasets / name, "a label is above 9"
            )
        return images[:, None], labels.long()

    train, train_labels = part("train", 60_000)
    test, test_labels = part("t10k", 10_000)
    return RawData(train, train_labels, test, test_labels, classes=10, full=255.0)


def _read(name: str, file: str, datasets: Path, shape: tuple[int, ...], alive: Alive) -> Tensor:
    folder = datasets / name
    plain = folder / file
    if plain.is_file():
        return read_idx(plain, shape)
    packed = f"{file}.gz"
    url = _URLS[name] + packed
    return read_idx(fetch(folder, packed, url, _MD5[name][file], alive), shape)


def read_idx(path: Path, shape: tuple[int, ...]) -> Tensor:
    """Read a file of unsigned bytes that must have exactly `shape`; uint8.

    No more is unpacked than the shape asks for, whatever the file claims.

    Raises:
        DatasetCorrupt: names the file and what is wrong with it.

    """
    header = 4 + 4 * len(shape)
    length = header + int(np.prod(shape))
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(length + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as failure:
        raise DatasetCorrupt(path.name, path.parent, str(failure)) from failure
    magic = bytes([0, 0, _UNSIGNED_BYTES, len(shape)])
    if content[:4] != magic:
        raise DatasetCorrupt(path.name, path.parent, f"it begins with {content[:4].hex(' ')}")
    words = [content[place : place + 4] for place in range(4, header, 4)]
    sizes = tuple(int.from_bytes(word, "big") for word in words)
    if len(content) >= header and sizes != shape:
        raise DatasetCorrupt(path.name, path.parent, f"its sizes are {sizes}, not {shape}")
    if len(content) != length:
        raise DatasetCorrupt(path.name, path.parent, f"it should hold {length} bytes")
    pixels = np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)
    return torch.from_numpy(pixels.copy())
