"""Bringing a data folder of an older PostgreSQL to the version that runs now.

    data (old) ──initdb + pg_upgrade──▶ data.upgraded
    data ──▶ data.16, data.upgraded ──▶ data          two renames
    the new server answers ──▶ data.16 is removed

The old data stays whole until the new server has answered. `finish_upgrade` mends what a kill
between two of these steps leaves.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import cast

from cli.stack.binaries import PostgresVersion, known_postgres_versions, postgres_programs
from cli.stack.cluster import SUPERUSER, Cluster
from cli.stack.errors import DiskFull, FolderUnusable
from cli.stack.folder import ServerFolder

_SPARE_BYTES = 200 * 10**6
_SHORT = 60


def upgrade_cluster(cluster: Cluster, version: PostgresVersion) -> None:
    """Upgrade the data folder where it is older than `version`; else do nothing.

    Raises:
        FolderUnusable: it is of a version that the wheel has no programs for, or newer.
        DiskFull: there is no room for a second copy.
        ServerFailed: pg_upgrade refused; the old data is as it was.

    """
    folder = cluster.folder
    old = _version_of(folder.data)
    if old == version:
        return
    if old > version or old not in known_postgres_versions():
        raise FolderUnusable(
            f"{folder.data} was made by PostgreSQL {old}; this Gradbook runs {version} and can "
            f"upgrade from {min(known_postgres_versions())}. Run the Gradbook that made it, or "
            "choose another home with `--home`."
        )
    _check_room(folder)
    source = cast("PostgresVersion", old)
    upgraded = folder.root / "data.upgraded"
    unfinished = folder.root / "data.upgrading"
    _close_cleanly(cluster, source)
    cluster.initialise(unfinished, version, checksums=_has_checksums(folder.data, source))
    _run_pg_upgrade(cluster, source, version, unfinished)
    shutil.rmtree(upgraded, ignore_errors=True)
    unfinished.rename(upgraded)
    folder.data.rename(folder.root / f"data.{old}")
    finish_upgrade(folder)


def finish_upgrade(folder: ServerFolder) -> None:
    """Put the upgraded data in its place where only that is left to do."""
    upgraded = folder.root / "data.upgraded"
    if not folder.data.exists() and upgraded.exists():
        upgraded.rename(folder.data)


def old_data(folder: ServerFolder) -> list[Path]:
    """What an upgrade left beside the data."""
    left = [folder.root / f"data.{version}" for version in sorted(known_postgres_versions())]
    left += [folder.root / "data.upgraded", folder.root / "data.upgrading"]
    return [path for path in left if path.exists()]


def _version_of(data: Path) -> int:
    try:
        return int((data / "PG_VERSION").read_text())
    except (OSError, ValueError) as error:
        raise FolderUnusable(
            f"{data} is no PostgreSQL data folder: {error}. Move it away, or choose another home "
            "with `--home`."
        ) from error


def _check_room(folder: ServerFolder) -> None:
    needed = _SPARE_BYTES + sum(
        path.lstat().st_size for path in folder.data.rglob("*") if path.is_file()
    )
    free = shutil.disk_usage(folder.root).free
    if free < needed:
        raise DiskFull(folder.root, free, needed)


def _close_cleanly(cluster: Cluster, version: PostgresVersion) -> None:
    """Recover after a crash: pg_upgrade takes only what was shut down in order.

    In single-user mode, which recovers, reads its standard input's end, and writes a checkpoint.
    """
    if _control_value(cluster.folder.data, version, "Database cluster state") == "shut down":
        return
    program = postgres_programs(version) / "postgres"
    data = cluster.folder.data
    cluster.run(program, "--single", "-D", str(data), "-c", "huge_pages=off", "postgres", cwd=data)


def _has_checksums(data: Path, version: PostgresVersion) -> bool:
    return _control_value(data, version, "Data page checksum version") != "0"


def _control_value(data: Path, version: PostgresVersion, key: str) -> str:
    program = postgres_programs(version) / "pg_controldata"
    shown = subprocess.run(
        [str(program), str(data)],
        check=True,
        capture_output=True,
        text=True,
        env={"LC_ALL": "C"},
    ).stdout
    facts = dict(line.split(":", 1) for line in shown.splitlines() if ":" in line)
    return facts[key].strip()


def _run_pg_upgrade(
    cluster: Cluster, old: PostgresVersion, new: PostgresVersion, target: Path
) -> None:
    sockets = _short_folder()
    try:
        cluster.account.own(sockets)
        cluster.run(
            postgres_programs(new) / "pg_upgrade",
            f"--old-bindir={postgres_programs(old)}",
            f"--new-bindir={postgres_programs(new)}",
            f"--old-datadir={cluster.folder.data}",
            f"--new-datadir={target}",
            f"--username={SUPERUSER}",
            f"--socketdir={sockets}",
            cwd=sockets,
            PGPASSWORD=cluster.folder.password(),
        )
    finally:
        shutil.rmtree(sockets, ignore_errors=True)


def _short_folder() -> Path:
    """For sockets, whose paths may have 107 bytes: not below the home, which may be deep."""
    place = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="gb-", dir=place if len(place) < _SHORT else "/tmp"))  # noqa: S108
