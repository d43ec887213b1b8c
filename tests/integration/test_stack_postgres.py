"""The embedded PostgreSQL: real servers in real folders."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from cli.stack.binaries import PostgresVersion
from cli.stack.errors import FolderUnusable, ServerFailed, StopAsked
from cli.stack.folder import ServerFolder
from cli.stack.postgres import EmbeddedPostgres
from cli.stack.process import is_gone
from tests.waiting import wait_until

LEAVES_A_SERVER = """
import os, signal, sys
from pathlib import Path
from cli.stack.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def write_row(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (42)")


def read_row(url: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT n FROM kept").fetchone()
        return None if row is None else row[0]


def setting(url: str, name: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
        assert row is not None
        return str(row[0])


@pytest.fixture(scope="module")
def stopped_server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a server that has run once and holds a row."""
    folder = tmp_path_factory.mktemp("stopped") / "pg"
    with EmbeddedPostgres(folder) as server:
        write_row(server.url)
    return folder


@pytest.fixture
def folder(stopped_server: Path, tmp_path: Path) -> Path:
    """A copy of it, for one test."""
    return Path(shutil.copytree(stopped_server, tmp_path / "pg"))


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(folder) as started:
        yield started


@pytest.mark.parametrize("version", [16, 18])
def test_a_new_server_is_of_its_version_safe_and_our_own(
    tmp_path: Path, version: PostgresVersion
) -> None:
    with EmbeddedPostgres(tmp_path / "pg", version=version) as server:
        parts = urlsplit(server.url)
        assert (parts.username, parts.hostname, parts.path) == (
            "gradbook",
            "127.0.0.1",
            "/gradbook",
        )
        assert setting(server.url, "server_version").startswith(f"{version}.")
        for name, value in {
            "data_checksums": "on",
            "fsync": "on",
            "password_encryption": "scram-sha-256",
            "server_encoding": "UTF8",
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
        }.items():
            assert setting(server.url, name) == value
        assert server.pid is not None
        assert os.getsid(server.pid) == server.pid
        if os.geteuid() == 0:
            assert psutil.Process(server.pid).uids().effective != 0
    assert not server.alive


def test_nobody_comes_in_without_the_password(server: EmbeddedPostgres) -> None:
    password = urlsplit(server.url).password
    assert password is not None
    for wrong in (server.url.replace(f":{password}", ""), server.url.replace(password, "wrong")):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(wrong)
    assert server.pid is not None
    assert password not in " ".join(psutil.Process(server.pid).cmdline())


def test_the_password_lies_in_one_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    folder = tmp_path / "pg"
    with EmbeddedPostgres(folder) as server:
        password = (urlsplit(server.url).password or "").encode()
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert [path for path in files if password in path.read_bytes()] == [folder / "password"]
    assert (folder / "password").stat().st_mode & 0o777 == 0o600


def test_a_second_start_has_the_same_address_and_the_same_rows(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        url = server.url
        with psycopg.connect(url) as connection:
            connection.execute("UPDATE kept SET n = 43")
    with EmbeddedPostgres(folder) as server:
        assert server.url == url
        assert read_row(url) == 43


def test_a_killed_server_recovers_what_was_committed(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.url) as connection:
        connection.execute("UPDATE kept SET n = 43")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not server.alive, 10, "the server is dead")
    server.start()
    assert read_row(server.url) == 43


def test_a_server_that_a_killed_process_left_is_ended_by_the_next_start(folder: Path) -> None:
    pid = _leave_a_server(folder)
    with EmbeddedPostgres(folder) as server:
        assert server.pid != pid
        assert not _runs(pid)
        assert read_row(server.url) == 42


def test_a_leftover_without_its_record_is_known_by_its_own_files(folder: Path) -> None:
    pid = _leave_a_server(folder)
    (folder / "process.json").unlink()
    assert _runs(pid)
    EmbeddedPostgres(folder).end_leftovers()
    assert not _runs(pid)


def test_a_server_of_another_folder_is_not_taken_for_a_leftover(
    server: EmbeddedPostgres, stopped_server: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(stopped_server, tmp_path / "copy")
    with EmbeddedPostgres(copy) as other:
        assert other.url != server.url  # the copy remembers the port that is in use
        assert read_row(other.url) == 42
    assert read_row(server.url) == 42


def _runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and not is_gone(psutil.Process(pid))


def _leave_a_server(folder: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", LEAVES_A_SERVER, str(folder)],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL
    return int(done.stdout)


def test_a_lock_file_whose_pid_is_a_strangers_now_does_not_stop_a_start(folder: Path) -> None:
    with EmbeddedPostgres(folder):
        lock = folder / "data" / "postmaster.pid"
        text = lock.read_text().split("\n")
        owner = lock.stat()
    # This process is alive, and has not the start time that stands there.
    lock.write_text("\n".join([str(os.getpid()), *text[1:]]))
    os.chown(lock, owner.st_uid, owner.st_gid)
    with EmbeddedPostgres(folder) as server:
        assert read_row(server.url) == 42


def test_a_remembered_port_that_a_stranger_took_is_replaced(folder: Path) -> None:
    port = int((folder / "port").read_text())
    with socket.create_server(("127.0.0.1", port)), EmbeddedPostgres(folder) as server:
        assert urlsplit(server.url).port != port
        assert read_row(server.url) == 42


def test_what_an_interrupted_first_start_left_is_made_anew(tmp_path: Path) -> None:
    half_made = tmp_path / "pg" / "data.making"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(tmp_path / "pg") as server:
        assert setting(server.url, "server_version")
    assert not half_made.exists()


def test_an_interrupted_start_leaves_nothing_running(tmp_path: Path) -> None:
    stopping = threading.Event()
    stopping.set()
    server = EmbeddedPostgres(tmp_path / "pg", stopping=stopping)
    with pytest.raises(StopAsked):
        server.start()
    assert server.pid is None
    assert not (tmp_path / "pg" / "data").exists()


def test_a_server_that_cannot_start_says_its_last_lines(folder: Path) -> None:
    (folder / "data" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(ServerFailed, match=r"(?s)ended while it started.*no_such_setting"):
        EmbeddedPostgres(folder).start()


def test_a_lost_password_is_refused_with_the_cure(folder: Path) -> None:
    (folder / "password").unlink()
    with pytest.raises(FolderUnusable, match="--home"):
        EmbeddedPostgres(folder).start()


def test_a_wrong_password_is_told_and_leaves_nothing_running(folder: Path) -> None:
    (folder / "password").write_text("wrong")
    server = EmbeddedPostgres(folder)
    with pytest.raises(ServerFailed, match="refuses us"):
        server.start()
    assert not server.alive


def test_variables_of_another_postgres_do_not_lead_it_astray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGDATA": "/nowhere", "PGPORT": "1", "PGUSER": "somebody"}.items():
        monkeypatch.setenv(name, value)
    server = EmbeddedPostgres(tmp_path / "pg")
    server.start()
    monkeypatch.undo()
    try:
        assert setting(server.url, "server_version")
    finally:
        server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root copies with another owner")
def test_data_that_root_copied_from_a_backup_is_given_to_its_account(folder: Path) -> None:
    data = ServerFolder(folder).data
    for path in (data, *data.rglob("*")):
        os.chown(path, 0, 0)
    with EmbeddedPostgres(folder) as server:
        assert read_row(server.url) == 42
