"""Making a PostgreSQL data folder, and running PostgreSQL's tools on one."""

import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

from cli.stack.accounts import Account
from cli.stack.binaries import PostgresVersion, postgres_programs
from cli.stack.folder import ServerFolder, write_private
from cli.stack.process import run_to_end

SUPERUSER = "gradbook"
# A builtin collation gives the same order on every system. 16 has none, and there C is the one
# locale that every system has.
_INITDB: dict[int, tuple[str, ...]] = {
    16: ("--locale=C",),
    18: ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
}
_CHECKSUMS: dict[tuple[int, bool], tuple[str, ...]] = {
    (16, True): ("--data-checksums",),
    (16, False): (),
    (18, True): ("--data-checksums",),
    (18, False): ("--no-data-checksums",),
}


class Cluster:
    """A server folder seen as PostgreSQL's: who owns it, where its tools' output goes."""

    def __init__(
        self,
        folder: ServerFolder,
        account: Account,
        log: Path,
        stopping: threading.Event | None = None,
    ) -> None:
        self.folder = folder
        self.account = account
        self._log = log
        self._stopping = stopping

    def make(self, version: PostgresVersion) -> None:
        """Make `folder.data`; one that was made by half never bears that name."""
        making = self.folder.root / "data.making"
        self.initialise(making, version, checksums=True)
        making.rename(self.folder.data)

    def initialise(self, target: Path, version: PostgresVersion, *, checksums: bool) -> None:
        """`initdb` into `target`, whatever an interrupted try left there."""
        shutil.rmtree(target, ignore_errors=True)
        self.folder.make_private(target, self.account)
        secret = target.with_name(f"{target.name}.password")
        try:
            write_private(secret, self.folder.password())
            self.account.own(secret)
            self.run(
                postgres_programs(version) / "initdb",
                f"--pgdata={target}",
                f"--username={SUPERUSER}",
                f"--pwfile={secret}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--set=huge_pages=off",
                *_INITDB[version],
                *_CHECKSUMS[version, checksums],
                cwd=target,
            )
        finally:
            secret.unlink(missing_ok=True)

    def run(self, program: Path, *arguments: str, cwd: Path, **variables: str) -> None:
        """Run one of PostgreSQL's tools as the account that owns the data.

        Raises:
            ServerFailed: it ended with another code than 0; carries its last lines.
            StopAsked: the start was interrupted; the tool was ended.

        """
        command: Sequence[str] = [str(program), *arguments]
        run_to_end(
            program.name,
            command,
            log=self._log,
            account=self.account,
            cwd=cwd,
            environment={**server_environment(), **variables},
            stopping=self._stopping,
        )


def server_environment() -> dict[str, str]:
    """Ours without what would redirect PostgreSQL's programs, and in a locale all systems have."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_"))}
    return {**kept, "LC_ALL": "C", "LANG": "C", "TZ": "UTC"}
