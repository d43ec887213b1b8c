"""Official files: what they must hold, and what is said where they don't."""

import gzip
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from worker.training.data.cifar import CIFAR, CifarFiles, read_cifar
from worker.training.data.idx import load_idx, read_idx
from worker.training.errors import DatasetCorrupt, DatasetMissing

TINY = replace(
    CIFAR["cifar10"],
    train=("data_batch_1.bin", "data_batch_2.bin"),
    train_records=3,
    test_records=2,
)


def nothing() -> None:
    return


def idx(pixels: bytes, *sizes: int) -> bytes:
    header = bytes([0, 0, 8, len(sizes)])
    return header + b"".join(size.to_bytes(4, "big") for size in sizes) + pixels


def test_an_idx_file_is_read_packed_or_not(tmp_path: Path) -> None:
    content = idx(bytes(range(12)), 2, 3, 2)
    plain, packed = tmp_path / "images", tmp_path / "images.gz"
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    for path in (plain, packed):
        assert read_idx(path, (2, 3, 2)).flatten().tolist() == list(range(12))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (idx(bytes(12), 2, 3, 2)[:-1], "should hold 28 bytes"),
        (idx(bytes(13), 2, 3, 2), "should hold 28 bytes"),
        (idx(bytes(12), 3, 2, 2), "its sizes are (3, 2, 2)"),
        (idx(bytes(12), 12), "it begins with 00 00 08 01"),
        (b"<html>not found</html>", "it begins with"),
        (b"", "it begins with"),
        (idx(b"", 2, 3, 2)[:7], "should hold 28 bytes"),
    ],
)
def test_a_corrupt_idx_file_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(DatasetCorrupt) as caught:
        read_idx(path, (2, 3, 2))
    assert "train-images-idx3-ubyte" in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize("cut", [5, 20, -4])
def test_a_broken_gzip_is_named(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(idx(bytes(range(200)) * 10, 2000))[:cut])
    with pytest.raises(DatasetCorrupt, match=r"images\.gz"):
        read_idx(path, (2000,))


def test_no_more_of_a_packed_file_is_unpacked_than_its_shape_asks_for(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb") as file:
        file.write(idx(b"", 2, 2, 1))
        for _ in range(64):
            file.write(bytes(2**20))
    with pytest.raises(DatasetCorrupt, match="should hold 20 bytes"):
        read_idx(path, (2, 2, 1))


def test_mnist_is_read_from_the_data_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mnist"
    folder.mkdir()
    for prefix, samples in (("train", 60_000), ("t10k", 10_000)):
        images = np.zeros((samples, 28, 28), np.uint8)
        images[5, 3, 4] = 77
        labels = (np.arange(samples) % 10).astype(np.uint8)
        with gzip.open(folder / f"{prefix}-images-idx3-ubyte.gz", "wb", compresslevel=1) as file:
            file.write(idx(images.tobytes(), samples, 28, 28))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels.tobytes(), samples))
    raw = load_idx("mnist", tmp_path, nothing)
    assert raw.train_nchw.shape == (60_000, 1, 28, 28)
    assert raw.test_nchw[5, 0, 3, 4] == 77
    assert raw.test_labels_n[:3].tolist() == [0, 1, 2]


def record(label: bytes, pixel: int) -> bytes:
    return label + bytes([pixel]) * 3072


def tiny_files() -> dict[str, bytes]:
    return {
        "data_batch_1.bin": b"".join(record(bytes([n]), n) for n in (1, 2, 3)),
        "data_batch_2.bin": b"".join(record(bytes([n]), n) for n in (4, 5, 6)),
        "test_batch.bin": b"".join(record(bytes([n]), n) for n in (7, 8)),
    }


def archive(files: dict[str, bytes], folder: str) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return written.getvalue()


@pytest.mark.parametrize("packed", [True, False])
def test_cifar_is_read_from_its_archive_or_folder(tmp_path: Path, *, packed: bool) -> None:
    if packed:
        (tmp_path / TINY.archive).write_bytes(archive(tiny_files(), TINY.folder))
    else:
        (tmp_path / TINY.folder).mkdir()
        for name, content in tiny_files().items():
            (tmp_path / TINY.folder / name).write_bytes(content)
    raw = read_cifar(TINY, tmp_path, nothing)
    assert raw.train_labels_n.tolist() == [1, 2, 3, 4, 5, 6]
    assert raw.test_labels_n.tolist() == [7, 8]
    assert raw.train_nchw.shape == (6, 3, 32, 32)
    assert raw.test_nchw.float().mean(dim=(1, 2, 3)).tolist() == [7.0, 8.0]


def test_cifar100_takes_the_fine_label(tmp_path: Path) -> None:
    files = replace(CIFAR["cifar100"], train_records=1, test_records=1)
    content = {"train.bin": record(bytes([3, 99]), 1), "test.bin": record(bytes([4, 98]), 2)}
    (tmp_path / files.archive).write_bytes(archive(content, files.folder))
    raw = read_cifar(files, tmp_path, nothing)
    assert (raw.train_labels_n.tolist(), raw.test_labels_n.tolist()) == ([99], [98])


def cifar_fails(folder: Path, files: CifarFiles, content: bytes) -> str:
    (folder / files.archive).write_bytes(content)
    with pytest.raises(DatasetCorrupt) as caught:
        read_cifar(files, folder, nothing)
    return str(caught.value)


def test_a_corrupt_cifar_archive_is_named(tmp_path: Path) -> None:
    whole = archive(tiny_files(), TINY.folder)
    short = tiny_files() | {"data_batch_2.bin": b"short"}
    wrong = tiny_files() | {"test_batch.bin": record(b"\x0a", 0) * 2}
    missing = {name: content for name, content in tiny_files().items() if name[0] == "d"}
    assert "cifar-10-binary.tar.gz" in cifar_fails(tmp_path, TINY, whole[: len(whole) // 2])
    assert "cifar-10-binary.tar.gz" in cifar_fails(tmp_path, TINY, b"<html>")
    assert "data_batch_2.bin" in cifar_fails(tmp_path, TINY, archive(short, TINY.folder))
    assert "above 9" in cifar_fails(tmp_path, TINY, archive(wrong, TINY.folder))
    assert "test_batch.bin is not" in cifar_fails(tmp_path, TINY, archive(missing, TINY.folder))


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_without_file_and_network_file_and_folder_are_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A proxy that refuses: no name is looked up and nothing leaves this machine.
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(DatasetMissing) as caught:
        load_idx(name, tmp_path, nothing)
    assert "train-images-idx3-ubyte.gz" in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert not caught.value.retryable
