"""Data folders of an older PostgreSQL, and of none that this release knows."""

import os
import signal
from pathlib import Path

import psycopg
import pytest

from cli.stack.accounts import Account, account_for
from cli.stack.cluster import Cluster
from cli.stack.errors import FolderUnusable, ServerFailed
from cli.stack.folder import ServerFolder
from cli.stack.postgres import EmbeddedPostgres
from tests.waiting import wait_until


def _make_old(folder: Path, *, killed: bool = False) -> None:
    with EmbeddedPostgres(folder, version=16) as server:
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
        if killed:
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            wait_until(lambda: not server.alive, 10, "the server is dead")


def _facts(url: str) -> tuple[object, ...]:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT count(*), sum(n), current_setting('server_version_num')::int / 10000, "
            "current_setting('data_checksums') FROM kept"
        ).fetchone()
        assert row is not None
        return tuple(row)


@pytest.mark.parametrize("killed", [False, True], ids=["shut down", "killed"])
def test_an_older_folder_is_upgraded_with_its_rows(tmp_path: Path, *, killed: bool) -> None:
    # Deeper than a socket's path may be long.
    folder = tmp_path.joinpath(*["deep" * 15] * 4, "pg")
    _make_old(folder, killed=killed)
    with EmbeddedPostgres(folder) as server:
        assert _facts(server.url) == (1000, 500_500, 18, "on")
        assert sorted(path.name for path in folder.glob("data*")) == ["data"]
    with EmbeddedPostgres(folder) as server:
        assert _facts(server.url) == (1000, 500_500, 18, "on")


def test_a_folder_without_checksums_is_upgraded_too(tmp_path: Path) -> None:
    folder = ServerFolder(tmp_path / "pg")
    folder.make()
    account: Account = account_for(folder.data, [folder.root])
    cluster = Cluster(folder, account, folder.root / "log")
    cluster.initialise(folder.data, 16, checksums=False)
    _make_old(folder.root)
    with EmbeddedPostgres(folder.root) as server:
        assert _facts(server.url) == (1000, 500_500, 18, "off")


def test_a_failed_upgrade_leaves_the_old_data_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "pg"
    _make_old(folder)
    control = folder / "data" / "global" / "pg_control"
    (folder / "data" / "global" / "pg_control.away").write_bytes(control.read_bytes())
    password = folder / "password"
    right = password.read_text()
    password.write_text("wrong")
    with pytest.raises(ServerFailed, match="pg_upgrade ended"):
        EmbeddedPostgres(folder).start()
    assert (folder / "data" / "PG_VERSION").read_text() == "16\n"
    password.write_text(right)
    with EmbeddedPostgres(folder, version=16) as server:
        assert _facts(server.url)[:3] == (1000, 500_500, 16)
    with EmbeddedPostgres(folder) as server:
        assert _facts(server.url)[:3] == (1000, 500_500, 18)


def test_a_kill_between_the_two_renames_is_mended(tmp_path: Path) -> None:
    folder = tmp_path / "pg"
    _make_old(folder)
    with EmbeddedPostgres(folder) as server:
        assert _facts(server.url)[2] == 18
    (folder / "data").rename(folder / "data.upgraded")
    (folder / "data.16").mkdir()
    with EmbeddedPostgres(folder) as server:
        assert _facts(server.url) == (1000, 500_500, 18, "on")
    assert sorted(path.name for path in folder.glob("data*")) == ["data"]


def test_a_newer_folder_is_refused_with_the_cure(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "pg"):
        pass
    with pytest.raises(FolderUnusable, match=r"made by PostgreSQL 18.*--home"):
        EmbeddedPostgres(tmp_path / "pg", version=16).start()


@pytest.mark.parametrize(
    ("version", "match"), [("15", "made by PostgreSQL 15"), ("", "no Postgre")]
)
def test_a_folder_of_an_unknown_version_is_refused(
    tmp_path: Path, version: str, match: str
) -> None:
    with EmbeddedPostgres(tmp_path / "pg"):
        pass
    (tmp_path / "pg" / "data" / "PG_VERSION").write_text(version)
    with pytest.raises(FolderUnusable, match=match):
        EmbeddedPostgres(tmp_path / "pg").start()
