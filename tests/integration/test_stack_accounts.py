"""As root: an unprivileged account, folders that only root may enter, and few capabilities."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from cli.stack.accounts import account_for
from cli.stack.binaries import postgres_programs
from cli.stack.errors import FolderUnreachable
from cli.stack.postgres import EmbeddedPostgres

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="what root on Linux must take care of"
)

# What root has in a container that nobody gave more, by capabilities(7)'s numbers.
CONTAINER = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31)
DAC_OVERRIDE = 1
DAC_READ_SEARCH = 2

WITH_FEW_CAPABILITIES = """
import ctypes, os, sys
kept = {int(word) for word in sys.argv[1].split(",")}
libc = ctypes.CDLL(None)
for capability in range(64):
    if capability not in kept:
        libc.prctl(24, capability, 0, 0, 0)
os.execv(sys.argv[2], sys.argv[2:])
"""
STARTS_TWICE = """
import os, signal, sys
from pathlib import Path
import psycopg
from cli.errors import Refused
from cli.stack.postgres import EmbeddedPostgres
from cli.stack.valkey import EmbeddedValkey
folder = Path(sys.argv[1])
try:
    with EmbeddedPostgres(folder / "pg") as server, EmbeddedValkey(folder / "valkey"):
        left = server.pid
        # As if the record were a killed run's: the next start must know it without ptrace.
        with EmbeddedPostgres(folder / "pg") as second:
            print(psycopg.connect(second.url).execute("SELECT 42").fetchone()[0])
            server._child.wait(30)
except Refused as refused:
    print(refused)
"""


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A folder that only root may enter."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def open_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gradbook-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def _modes(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mode for path in (folder, *folder.parents)}


def test_below_a_folder_of_roots_the_server_gets_the_one_right_to_search(closed: Path) -> None:
    modes = _modes(closed)
    folder = closed.joinpath(*["deep" * 15] * 4, "pg")
    with EmbeddedPostgres(folder) as server:
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE kept (n int)")
        assert server.pid is not None
        process = psutil.Process(server.pid)
        assert process.uids().real == process.uids().effective != 0
        assert _capabilities(server.pid) == 1 << DAC_READ_SEARCH
    assert _modes(closed) == modes


def test_where_the_account_may_enter_it_gets_no_right_at_all(open_folder: Path) -> None:
    account = account_for(open_folder / "pg" / "data", [open_folder])
    assert account.capability is None
    programs = postgres_programs(18)
    if account_for(open_folder / "pg" / "data", [programs / "postgres"]).capability is not None:
        return  # this clone itself lies where only root may enter
    with EmbeddedPostgres(open_folder / "pg") as server:
        assert server.pid is not None
        assert _capabilities(server.pid) == 0


def _capabilities(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))


def test_the_owner_of_the_data_goes_on_owning_it(open_folder: Path) -> None:
    data = open_folder / "data"
    data.mkdir()
    os.chown(data, 1, 1)
    assert account_for(data, [open_folder]).uid == 1


def test_the_rights_of_a_plain_container_are_enough(closed: Path) -> None:
    assert _start_with(CONTAINER, closed) == "42"


def test_without_the_right_to_search_the_closed_folder_and_the_cure_are_named(
    closed: Path,
) -> None:
    fewer = [capability for capability in CONTAINER if capability != DAC_OVERRIDE]
    told = _start_with(fewer, closed)
    assert "--home" in told
    # The outermost folder that stops the account: ours, or one that it lies in.
    assert any(f" may not enter {folder} " in told for folder in (closed, *closed.parents))


def _start_with(capabilities: list[int] | tuple[int, ...], folder: Path) -> str:
    kept = ",".join(map(str, capabilities))
    start = [sys.executable, "-c", STARTS_TWICE, str(folder)]
    done = subprocess.run(
        [sys.executable, "-c", WITH_FEW_CAPABILITIES, kept, *start],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_file_that_is_not_there_is_named(closed: Path) -> None:
    missing = closed / "postgres"
    with pytest.raises(FolderUnreachable) as refusal:
        account_for(closed / "data", [missing])
    assert str(refusal.value.path) == str(missing)
