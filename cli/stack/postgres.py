"""A PostgreSQL of our own: the wheel's `postgres`, run directly as a child of this process."""

import signal
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from cli.stack.accounts import Account, account_for
from cli.stack.binaries import PostgresVersion, postgres_programs
from cli.stack.cluster import make_cluster, server_environment
from cli.stack.errors import ServerFailed
from cli.stack.folder import LOOPBACK, ServerFolder
from cli.stack.logs import last_lines
from cli.stack.process import spawn, stop_child, stop_other, wait_until, working_in

DATABASE = "gradbook"
USER = "gradbook"
_PROGRAMS = frozenset({"postgres"})
_RECOVERY_SECONDS = 120.0
_STOP_SECONDS = 60.0
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    # None: a socket's path may have 107 bytes, and a home's path more than that.
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    # Huge pages that a container's limits forbid end the server by a bus error.
    "huge_pages": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "cluster_name": "gradbook",
}


class EmbeddedPostgres:
    """`postgres` from the wheel, as a child of this process, on a loopback port.

    Args:
        folder: holds the data, the port and the password; made where missing.
        version: 16 or 18. A folder of an older version is upgraded by `start`.
        log: where its output goes; `postgres.log` in the folder where not given.
        stopping: set it to interrupt a start.

    """

    name = "PostgreSQL"

    def __init__(
        self,
        folder: Path,
        *,
        version: PostgresVersion = 18,
        log: Path | None = None,
        stopping: threading.Event | None = None,
    ) -> None:
        self._folder = ServerFolder(folder)
        self._version = version
        self.log = log or self._folder.root / "postgres.log"
        self._stopping = stopping
        self._child: subprocess.Popen[bytes] | None = None
        self._port: int | None = None

    @property
    def url(self) -> str:
        return self._url(DATABASE)

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start it, make what is missing, and wait until it answers.

        Raises:
            StackError: with cause and cure.

        """
        self._folder.make()
        self.end_leftovers()
        programs = postgres_programs(self._version)
        account = account_for(self._folder.data, [programs / "postgres", self._folder.root])
        if not self._folder.data.exists():
            make_cluster(self._folder, self._version, account, self.log, self._stopping)
        self._launch(programs, account)
        try:
            self._wait()
            self._make_database()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it fast: connections are closed, everything committed is on disk."""
        if self._child is not None:
            stop_child(self._child, signal.SIGINT, _STOP_SECONDS)
            self._folder.forget()

    def end_leftovers(self) -> None:
        """End a server, or what is left of one, that an earlier run left on this folder."""
        if self.alive:
            return
        record = self._folder.record
        found = working_in(self._folder.data, _PROGRAMS)
        # The first process before its helpers: it ends them in order.
        found.sort(key=lambda process: record is None or process.pid != record.pid)
        for process in found:
            stop_other(process, signal.SIGINT, _STOP_SECONDS)
        self._folder.forget()

    def _launch(self, programs: Path, account: Account) -> None:
        port = self._port = self._folder.free_port()
        command = [str(programs / "postgres"), "-D", str(self._folder.data), "-p", str(port)]
        for key, value in _SETTINGS.items():
            command += ["-c", f"{key}={value}"]
        self._child = spawn(
            command,
            log=self.log,
            account=account,
            cwd=self._folder.data,
            environment=server_environment(),
        )
        self._folder.remember(self._child.pid)

    def _wait(self) -> None:
        wait_until(lambda: self._answers() or not self.alive, _RECOVERY_SECONDS, self._stopping)
        if not self.alive:
            raise ServerFailed(self.name, "ended while it started", last_lines(self.log))
        if not self._ready():
            raise ServerFailed(
                self.name, f"was not ready within {_RECOVERY_SECONDS:.0f} s", last_lines(self.log)
            )

    def _ready(self) -> bool:
        """Its last line of `postmaster.pid` says so, and it is this server's."""
        try:
            lines = (self._folder.data / "postmaster.pid").read_text().split()
        except OSError:
            return False
        return bool(lines) and lines[0] == str(self.pid) and lines[-1] == "ready"

    _answers = _ready

    def _make_database(self) -> None:
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            known = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
            ).fetchone()
            if known is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def _url(self, database: str) -> str:
        password = self._folder.password()
        return f"postgresql://{USER}:{password}@{LOOPBACK}:{self._port}/{database}"

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
