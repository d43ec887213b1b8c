"""A PostgreSQL of our own: the wheel's `postgres`, run directly as a child of this process."""

import contextlib
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import psutil
import psycopg

from cli.stack.accounts import Account, account_for
from cli.stack.binaries import PostgresVersion, postgres_programs
from cli.stack.cluster import SUPERUSER, Cluster, server_environment
from cli.stack.errors import FolderUnusable, ServerFailed
from cli.stack.folder import LOOPBACK
from cli.stack.logs import last_lines
from cli.stack.process import Record, spawn
from cli.stack.server import Server
from cli.stack.upgrade import finish_upgrade, old_data, upgrade_cluster

DATABASE = "gradbook"
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    # None: a socket's path may have 107 bytes, and a home's path more than that.
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    # Huge pages that a container's limits forbid end the server with a bus error.
    "huge_pages": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "cluster_name": "gradbook",
}


class EmbeddedPostgres(Server):
    """`postgres` from the wheel; `url` is `postgresql://gradbook:…@127.0.0.1:port/gradbook`.

    Args:
        folder: see `Server`.
        version: 16 or 18; `start` upgrades a folder of an older version.
        log: see `Server`.
        stopping: see `Server`.

    """

    name = "PostgreSQL"
    programs = frozenset({"postgres", "initdb"})
    gentle_signal = signal.SIGINT  # "fast": connections are closed, what is committed is on disk
    start_seconds = 120.0  # a recovery may take that long
    stop_seconds = 60.0

    def __init__(
        self,
        folder: Path,
        *,
        version: PostgresVersion = 18,
        log: Path | None = None,
        stopping: threading.Event | None = None,
    ) -> None:
        super().__init__(folder, log=log, stopping=stopping)
        self._version = version

    @property
    def url(self) -> str:
        return self._url(DATABASE)

    def end_leftovers(self) -> None:
        super().end_leftovers()
        written = self._written_record()
        if written is not None and not self.alive and psutil.pid_exists(written.pid):
            # The number is another process's by now; PostgreSQL, which looks at the number only,
            # would refuse to start.
            (self._folder.data / "postmaster.pid").unlink()

    def _records(self) -> list[Record]:
        written = self._written_record()
        return super()._records() + ([] if written is None else [written])

    def _written_record(self) -> Record | None:
        """What PostgreSQL itself wrote: pid in the first line, start in the third."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            lines = (self._folder.data / "postmaster.pid").read_text().splitlines()
            return Record(int(lines[0]), float(lines[2]))
        return None

    def _prepare(self) -> Account:
        finish_upgrade(self._folder)
        data = self._folder.data
        if data.exists() and not self._folder.has_password:
            raise FolderUnusable(
                f"{data} has lost its password file ({self._folder.root / 'password'}). Put it "
                "back, or choose another home with `--home`."
            )
        programs = postgres_programs(self._version)
        shared = programs.parent / "share"
        account = account_for(data, [programs / "postgres", shared, self._folder.root])
        cluster = Cluster(self._folder, account, self.log, self._stopping)
        if not data.exists():
            cluster.make(self._version)
        else:
            self._folder.claim_data(account)
            upgrade_cluster(cluster, self._version)
        return account

    def _launch(self, account: Account) -> subprocess.Popen[bytes]:
        data = self._folder.data
        program = postgres_programs(self._version) / "postgres"
        command = [str(program), "-D", str(data), "-p", str(self._port)]
        for key, value in _SETTINGS.items():
            command += ["-c", f"{key}={value}"]
        return spawn(
            command, log=self.log, account=account, cwd=data, environment=server_environment()
        )

    def _answers(self) -> bool:
        """The last line of its `postmaster.pid` says so: asked without knocking at its door."""
        try:
            lines = (self._folder.data / "postmaster.pid").read_text().split()
        except OSError:
            return False
        return bool(lines) and lines[0] == str(self.pid) and lines[-1] == "ready"

    def _complete(self) -> None:
        try:
            self._make_database()
        except psycopg.OperationalError as error:
            raise ServerFailed(self.name, f"refuses us: {error}", last_lines(self.log)) from error
        # Ready on the new version: only now the old data may go.
        for old in old_data(self._folder):
            shutil.rmtree(old)

    def _make_database(self) -> None:
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            known = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]
            ).fetchone()
            if known is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def _url(self, database: str) -> str:
        password = self._folder.password()
        return f"postgresql://{SUPERUSER}:{password}@{LOOPBACK}:{self._port}/{database}"
