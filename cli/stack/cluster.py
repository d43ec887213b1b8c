"""Making a PostgreSQL data folder."""

import os
import shutil
import threading
from pathlib import Path

from cli.stack.accounts import Account
from cli.stack.binaries import PostgresVersion, postgres_programs
from cli.stack.folder import ServerFolder, write_private
from cli.stack.process import run_to_end

SUPERUSER = "gradbook"
# A builtin collation gives the same order on every system; 16 has no builtin provider, and there
# C is the only locale that every system has.
_LOCALES = {
    16: ("--locale=C",),
    18: ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
}


def make_cluster(
    folder: ServerFolder,
    version: PostgresVersion,
    account: Account,
    log: Path,
    stopping: threading.Event | None,
) -> None:
    """Make `folder.data`; half-made ones never bear that name."""
    making = folder.root / "data.making"
    init_folder(making, version, folder.password(), account, log, stopping)
    making.rename(folder.data)


def init_folder(
    target: Path,
    version: PostgresVersion,
    password: str,
    account: Account,
    log: Path,
    stopping: threading.Event | None,
    *,
    checksums: bool = True,
) -> None:
    """`initdb` into `target`, whatever was there before."""
    if target.exists():
        shutil.rmtree(target)
    target.mkdir(mode=0o700)
    account.own(target)
    secret = target.with_name(f"{target.name}.password")
    secret.unlink(missing_ok=True)
    write_private(secret, password)
    account.own(secret)
    command = [
        str(postgres_programs(version) / "initdb"),
        f"--pgdata={target}",
        f"--username={SUPERUSER}",
        f"--pwfile={secret}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        *_LOCALES[version],
        "--set=huge_pages=off",
    ]
    if checksums:
        command.append("--data-checksums")
    elif version >= 18:  # noqa: PLR2004  (18 has them unless told otherwise)
        command.append("--no-data-checksums")
    try:
        run_to_end(
            "initdb",
            command,
            log=log,
            account=account,
            cwd=target,
            environment=server_environment(),
            stopping=stopping,
        )
    finally:
        secret.unlink(missing_ok=True)


def server_environment() -> dict[str, str]:
    """Ours without what would redirect PostgreSQL's programs, and in a locale all systems have."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_"))}
    return {**kept, "LC_ALL": "C", "LANG": "C", "TZ": "UTC"}
