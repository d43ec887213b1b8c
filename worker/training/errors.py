"""How training ends other than by succeeding.

    TrainingError
    ├── Cancelled           somebody wanted it so; nothing more is computed
    ├── Suspended           it goes on later, here or elsewhere, from what is saved
    ├── Diverged            losses are NaN or infinite, and `on_non_finite` is `fail`
    ├── OutOfMemory         the device, or the host, has no room for it
    ├── DeviceMissing       the device that the worker named is not there
    ├── DatasetMissing      neither the file nor the network to fetch it
    ├── DatasetCorrupt      a file is not what it should be
    ├── EntryPointRefused   code that is not of a package on the worker's list
    ├── EntryPointMissing   code that is not there under its name
    ├── EntryPointUnfit     code of a team's own gave what can't be trained with
    ├── ProgramMisused      a program told what can't be booked, or when it must not
    ├── StoreFailed         a checkpoint or an artifact could not be written or read
    ├── CheckpointCorrupt   a checkpoint is not the file that was booked
    └── CheckpointMissing   its store answers, and the file is gone; told by a salvage alone

`retryable` says whether another attempt, on this worker or another, may do better.
"""

from pathlib import Path
from typing import ClassVar


class TrainingError(Exception):
    """The root; raised by `worker.training.trainer.train`."""

    retryable: ClassVar[bool] = False


class Cancelled(TrainingError):
    def __init__(self, iteration: int) -> None:
        self.iteration = iteration
        super().__init__(f"cancelled after iteration {iteration}")


class Suspended(TrainingError):
    """What was computed is delivered, and saved where it could be."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration
        super().__init__(f"left off after iteration {iteration}, to go on later")


class Diverged(TrainingError):
    """The row of `iteration` is the last that was delivered; weights after it are not kept."""

    def __init__(self, iteration: int, loss: float) -> None:
        self.iteration, self.loss = iteration, loss
        super().__init__(f"the loss of iteration {iteration} is {loss}")


class OutOfMemory(TrainingError):
    retryable = True

    def __init__(self, device: str, detail: str) -> None:
        self.device, self.detail = device, detail
        super().__init__(f"out of memory on {device}: {detail}")


class DeviceMissing(TrainingError):
    retryable = True

    def __init__(self, device: str) -> None:
        self.device = device
        super().__init__(f"there is no device {device} here")


class DatasetMissing(TrainingError):
    def __init__(self, file: str, folder: Path, detail: str) -> None:
        self.file, self.folder, self.detail = file, folder, detail
        super().__init__(
            f"{file} is not in {folder} and could not be downloaded ({detail}); "
            f"put the official file there"
        )


class DatasetCorrupt(TrainingError):
    def __init__(self, file: str, folder: Path, detail: str) -> None:
        self.file, self.folder, self.detail = file, folder, detail
        super().__init__(f"{file} in {folder} is not the official file: {detail}")


class EntryPointRefused(TrainingError):
    def __init__(self, name: str, detail: str) -> None:
        self.name, self.detail = name, detail
        super().__init__(f"{name}: {detail}")


class EntryPointMissing(TrainingError):
    def __init__(self, name: str, detail: str) -> None:
        self.name, self.detail = name, detail
        super().__init__(f"{name}: {detail}")


class EntryPointUnfit(TrainingError):
    def __init__(self, name: str, detail: str) -> None:
        self.name, self.detail = name, detail
        super().__init__(f"{name}: {detail}")


class ProgramMisused(TrainingError):
    """Its text says what was told, and what is expected."""


class StoreFailed(TrainingError):
    """`missing`: the store answers, and the file is not there."""

    retryable = True

    def __init__(self, uri: str, detail: str, *, missing: bool = False) -> None:
        self.uri, self.detail, self.missing = uri, detail, missing
        super().__init__(f"{uri}: {detail}")


class CheckpointCorrupt(TrainingError):
    retryable = True

    def __init__(self, uri: str, detail: str) -> None:
        self.uri, self.detail = uri, detail
        super().__init__(f"checkpoint {uri}: {detail}")


class CheckpointMissing(TrainingError):
    """A salvage has no other word for it; training takes the checkpoint before."""

    def __init__(self, uri: str, detail: str) -> None:
        self.uri, self.detail = uri, detail
        super().__init__(f"checkpoint {uri} is gone: {detail}")
