"""The data folder of one stack: who holds it, and where each part keeps its things."""

import fcntl
import os
from pathlib import Path

from cli.stack.errors import FolderUnusable, HomeTaken
from cli.stack.folder import make_folder
from cli.stack.process import Record


class Home:
    """`postgres/`, `valkey/`, `logs/`, `run/` and `lock`; `datasets` and `artifacts` beside them.

    The lock is the kernel's and goes with the process that took it; the file's text only tells
    others who that is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.postgres = self.path / "postgres"
        self.valkey = self.path / "valkey"
        self._lock: int | None = None

    def take(self) -> None:
        """Make it where missing, and lock it.

        Raises:
            HomeTaken: another process holds it.
            FolderUnusable: it can't be made or written.

        """
        try:
            for folder in (self.path, self.path / "logs", self.path / "run"):
                make_folder(folder)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise FolderUnusable(
                f"Can't write {self.path}: {error.strerror}. Choose a home that you may write, "
                "with `--home`."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            holder = Record.read(self.path / "lock")
            raise HomeTaken(self.path, None if holder is None else holder.pid) from error
        self._lock = lock
        Record.of(os.getpid()).write(self.path / "lock")

    def release(self) -> None:
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def log(self, part: str) -> Path:
        return self.path / "logs" / f"{part}.log"

    def record(self, part: str) -> Path:
        return self.path / "run" / f"{part}.json"
