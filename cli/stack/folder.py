"""What a server's folder remembers: its port, its password, its last process."""

import contextlib
import os
import random
import secrets
import socket
from pathlib import Path

from cli.stack.accounts import Account
from cli.stack.errors import FolderUnusable
from cli.stack.process import Record

LOOPBACK = "127.0.0.1"
# Below the range from which systems give out ports for outgoing connections (32768 and up), so
# that a remembered port is still free at the next start.
_PORTS = range(20_000, 32_000)


class ServerFolder:
    """`port`, `password` (0600) and `process.json` of one server, and `data/` for its own files.

    Whoever starts a server on a folder owns that folder: a server that an earlier run left behind
    is ended.
    """

    def __init__(self, root: Path) -> None:
        # Resolved, as the system tells where a process works.
        self.root = root.resolve()
        self.data = self.root / "data"
        self._port = self.root / "port"
        self._password = self.root / "password"
        self._process = self.root / "process.json"

    def make(self) -> None:
        try:
            make_folder(self.root)
        except OSError as error:
            raise FolderUnusable(
                f"Can't make {self.root}: {error.strerror}. Choose a home that you may write, "
                "with `--home`."
            ) from error

    def password(self) -> str:
        if not self._password.exists():
            write_private(self._password, secrets.token_hex(24))
        return self._password.read_text().strip()

    @property
    def has_password(self) -> bool:
        return self._password.exists()

    def choose_port(self) -> int:
        """The remembered port while nobody else has it; else another, remembered from now on."""
        remembered = self._remembered_port()
        if remembered is not None and is_free(remembered):
            return remembered
        candidates = random.SystemRandom().sample(_PORTS, 200)
        port = next(candidate for candidate in candidates if is_free(candidate))
        self._port.write_text(f"{port}\n")
        return port

    def _remembered_port(self) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            return int(self._port.read_text())
        return None

    @property
    def record(self) -> Record | None:
        return Record.read(self._process)

    def remember(self, pid: int) -> None:
        Record.of(pid).write(self._process)

    def forget(self) -> None:
        self._process.unlink(missing_ok=True)

    def make_data(self, account: Account) -> None:
        self.make_private(self.data, account)

    def make_private(self, folder: Path, account: Account) -> None:
        """An empty folder that only the account may enter."""
        folder.mkdir(mode=0o700)
        account.own(folder)

    def claim_data(self, account: Account) -> None:
        """Give the account data that root copied here, from a backup say.

        Raises:
            FolderUnusable: it is another user's, and we are not root.

        """
        owner = self.data.stat().st_uid
        if owner == account.effective_uid:
            return
        if account.uid is None:
            raise FolderUnusable(
                f"{self.data} belongs to user number {owner}, this is user number "
                f"{account.effective_uid}. Start as that user (or as root), or choose another "
                "home with `--home`."
            )
        for path in (self.data, *self.data.rglob("*")):
            account.own(path)


def make_folder(folder: Path) -> None:
    """Make a folder that a server's account may pass through, whatever the umask.

    Only folders that are made here get a mode; one that is there is left as it is.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        path.chmod(0o755)


def write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: connections of the last run that are still closing don't matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
