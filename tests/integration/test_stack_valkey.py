"""The embedded Valkey: real servers in real folders."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import redis

from cli.stack.process import is_gone
from cli.stack.valkey import EmbeddedValkey

LEAVES_A_SERVER = """
import os, signal, sys
from pathlib import Path
from cli.stack.valkey import EmbeddedValkey
server = EmbeddedValkey(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey(tmp_path / "valkey") as started:
        yield started


def _put(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        assert client.lpush("queue", "ticket") == 1


def _length(url: str) -> object:
    with redis.Redis.from_url(url) as client:
        return client.llen("queue")


def test_it_is_our_own_on_loopback_in_its_own_session(server: EmbeddedValkey) -> None:
    _put(server.url)
    assert server.pid is not None
    assert os.getsid(server.pid) == server.pid
    if os.geteuid() == 0:
        assert psutil.Process(server.pid).uids().effective != 0
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(server.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1"]


def test_nobody_comes_in_without_the_password(server: EmbeddedValkey) -> None:
    password = urlsplit(server.url).password
    assert password is not None
    with (
        redis.Redis.from_url(server.url.replace(f":{password}@", "")) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()
    assert server.pid is not None
    assert password not in " ".join(psutil.Process(server.pid).cmdline())


def test_it_keeps_nothing_on_disk_and_its_address(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "valkey") as server:
        url = server.url
        _put(url)
    assert list((tmp_path / "valkey" / "data").iterdir()) == []
    with EmbeddedValkey(tmp_path / "valkey") as server:
        assert server.url == url
        assert _length(url) == 0


def test_a_server_that_a_killed_process_left_is_ended_by_the_next_start(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEAVES_A_SERVER, str(tmp_path / "valkey")],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL
    with EmbeddedValkey(tmp_path / "valkey") as server:
        left = int(done.stdout)
        assert not psutil.pid_exists(left) or is_gone(psutil.Process(left))
        assert _length(server.url) == 0


def test_a_remembered_port_that_a_stranger_took_is_replaced(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path / "valkey") as server:
        before = urlsplit(server.url).port
    with (
        socket.create_server(("127.0.0.1", before or 0)),
        EmbeddedValkey(tmp_path / "valkey") as server,
    ):
        assert urlsplit(server.url).port != before
        _put(server.url)
