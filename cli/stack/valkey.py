"""A Valkey of our own: the broker that carries tickets. It keeps nothing on disk: it need not."""

import contextlib
import signal
import socket
import subprocess

from cli.stack.accounts import Account, account_for
from cli.stack.binaries import valkey_program
from cli.stack.folder import LOOPBACK
from cli.stack.process import spawn
from cli.stack.server import Server

# Read from standard input: so the password is neither on the command line nor in a file that the
# server's account would have to be able to read.
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
_GREETING = b"+OK\r\n+PONG\r\n"


class EmbeddedValkey(Server):
    """`valkey-server` from the wheel; `url` is `redis://:password@127.0.0.1:port/0`."""

    name = "Valkey"
    programs = frozenset({"valkey-server"})
    gentle_signal = signal.SIGTERM
    start_seconds = 20.0
    stop_seconds = 10.0

    @property
    def url(self) -> str:
        return f"redis://:{self._folder.password()}@{LOOPBACK}:{self._port}/0"

    def _prepare(self) -> Account:
        account = account_for(self._folder.data, [valkey_program(), self._folder.root])
        if not self._folder.data.exists():
            self._folder.make_data(account)
        return account

    def _launch(self, account: Account) -> subprocess.Popen[bytes]:
        settings = _SETTINGS.format(
            port=self._port, host=LOOPBACK, password=self._folder.password()
        )
        return spawn(
            [str(valkey_program()), "-"],
            log=self.log,
            account=account,
            cwd=self._folder.data,
            text=settings,
        )

    def _answers(self) -> bool:
        with (
            contextlib.suppress(OSError),
            socket.create_connection((LOOPBACK, self._port), timeout=1) as connection,
        ):
            connection.sendall(f"AUTH {self._folder.password()}\r\nPING\r\n".encode())
            answer = b""
            while len(answer) < len(_GREETING) and (part := connection.recv(256)):
                answer += part
            return answer == _GREETING
        return False

    def _complete(self) -> None:
        """Nothing: an empty broker is a whole one."""
