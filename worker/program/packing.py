"""Files of a library's own checkpoint, as one tensor that a job's checkpoint can hold."""

import io
import shutil
import tarfile
import tempfile
from pathlib import Path

import torch
from torch import Tensor


def pack(path: Path) -> Tensor:
    """Return a file, or a folder with all that is in it, as bytes."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        archive.add(path, arcname=path.name)
    return torch.frombuffer(bytearray(written.getvalue()), dtype=torch.uint8)


class Unpacked:
    """Where what was packed lies for as long as a library reads it; nothing at first."""

    def __init__(self) -> None:
        self._folder: Path | None = None

    def put(self, packed: Tensor) -> Path:
        """Write what was packed into a folder of its own; return where it is."""
        self._folder = Path(tempfile.mkdtemp(prefix="resumed-"))
        return unpack(packed, self._folder)

    def forget(self) -> None:
        """Remove it. A trainer's process runs no exit handlers: nobody else would."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def unpack(packed: Tensor, folder: Path) -> Path:
    """Write what was packed into a folder; return where it is."""
    content = io.BytesIO(packed.numpy().tobytes())
    with tarfile.open(fileobj=content) as archive:
        name = archive.getnames()[0]
        # No path outside, no device, no owner.
        archive.extractall(folder, filter="data")
    return folder / name
