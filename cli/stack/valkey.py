"""A Valkey of our own: the broker that carries tickets. It keeps nothing on disk: it need not."""

import contextlib
import signal
import socket
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from cli.stack.accounts import account_for
from cli.stack.binaries import valkey_program
from cli.stack.errors import ServerFailed
from cli.stack.folder import LOOPBACK, ServerFolder
from cli.stack.logs import last_lines
from cli.stack.process import spawn, stop_child, stop_other, wait_until, working_in

_PROGRAMS = frozenset({"valkey-server"})
_START_SECONDS = 20.0
_STOP_SECONDS = 10.0
# Read from standard input: the password is neither on the command line nor in a file that the
# server's account must be able to read.
_SETTINGS = """\
port {port}
bind {host}
protected-mode yes
requirepass {password}
daemonize no
save ""
appendonly no
maxmemory-policy noeviction
"""


class EmbeddedValkey:
    """`valkey-server` from the wheel, as a child of this process, on a loopback port.

    Args:
        folder: remembers port and password; made where missing.
        log: where its output goes; `valkey.log` in the folder where not given.
        stopping: set it to interrupt a start.

    """

    name = "Valkey"

    def __init__(
        self, folder: Path, *, log: Path | None = None, stopping: threading.Event | None = None
    ) -> None:
        self._folder = ServerFolder(folder)
        self.log = log or self._folder.root / "valkey.log"
        self._stopping = stopping
        self._child: subprocess.Popen[bytes] | None = None
        self._port: int | None = None

    @property
    def url(self) -> str:
        return f"redis://:{self._folder.password()}@{LOOPBACK}:{self._port}/0"

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            StackError: with cause and cure.

        """
        self._folder.make()
        self.end_leftovers()
        program = valkey_program()
        data = self._folder.data
        account = account_for(data, [program, self._folder.root])
        if not data.exists():
            self._folder.make_data(data, account)
        port = self._port = self._folder.free_port()
        settings = _SETTINGS.format(port=port, host=LOOPBACK, password=self._folder.password())
        self._child = spawn(
            [str(program), "-"], log=self.log, account=account, cwd=data, text=settings
        )
        self._folder.remember(self._child.pid)
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if self._child is not None:
            stop_child(self._child, signal.SIGTERM, _STOP_SECONDS)
            self._folder.forget()

    def end_leftovers(self) -> None:
        """End a server that an earlier run left on this folder."""
        if self.alive:
            return
        for process in working_in(self._folder.data, _PROGRAMS):
            stop_other(process, signal.SIGTERM, _STOP_SECONDS)
        self._folder.forget()

    def _wait(self) -> None:
        wait_until(lambda: self._answers() or not self.alive, _START_SECONDS, self._stopping)
        if not self.alive:
            raise ServerFailed(self.name, "ended while it started", last_lines(self.log))
        if not self._answers():
            raise ServerFailed(
                self.name, f"did not answer within {_START_SECONDS:.0f} s", last_lines(self.log)
            )

    def _answers(self) -> bool:
        with (
            contextlib.suppress(OSError),
            socket.create_connection((LOOPBACK, self._port or 0), timeout=1) as connection,
        ):
            connection.sendall(f"AUTH {self._folder.password()}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2 and (part := connection.recv(256)):  # noqa: PLR2004
                answer += part
            return answer == b"+OK\r\n+PONG\r\n"
        return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
