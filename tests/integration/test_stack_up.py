"""`gradbook up`, whole: what it prints, who it starts, how it ends."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from tests.processes import ROOT, free_port
from tests.waiting import wait_until

RECORDS = {
    "api": "run/api.json",
    "worker": "run/worker.json",
    "valkey": "valkey/process.json",
    "postgres": "postgres/process.json",
}
pytestmark = pytest.mark.timeout(300)
BACK_SECONDS = 15.0
START_SECONDS = 90
STOP_SECONDS = 60


@dataclass(frozen=True)
class Up:
    """A running `gradbook up`."""

    process: subprocess.Popen[bytes]
    home: Path
    port: int

    def output(self) -> str:
        return (self.home.parent / "out").read_text()

    def words(self) -> str:
        return (self.home.parent / "err").read_text()

    def ready(self) -> bool:
        assert self.process.poll() is None, self.words()
        return self.output() == f"ready http://127.0.0.1:{self.port}\n"

    def answers(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{self.port}/readyz").status_code == httpx.codes.OK
        return False

    def has_a_worker(self) -> bool:
        answer = httpx.get(f"http://127.0.0.1:{self.port}/v1/workers")
        return self.pid("worker") in [worker["pid"] for worker in answer.json()["items"]]

    def pid(self, part: str) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            return int(json.loads((self.home / RECORDS[part]).read_text())["pid"])
        return None

    def parts(self) -> dict[str, psutil.Process]:
        return {name: psutil.Process(self.pid(name)) for name in RECORDS}

    def database_url(self) -> str:
        folder = self.home / "postgres"
        port, password = ((folder / name).read_text().strip() for name in ("port", "password"))
        return f"postgresql://gradbook:{password}@127.0.0.1:{port}/gradbook"


StartUp = Callable[..., Up]


@pytest.fixture
def temporary() -> Iterator[str]:
    """Where a killed worker's sockets are left; `tmp_path` would make their paths too long."""
    with tempfile.TemporaryDirectory(prefix="gb-", ignore_cleanup_errors=True) as folder:
        yield folder


@pytest.fixture
def start_up(tmp_path: Path, temporary: str) -> Iterator[StartUp]:
    """Starts `gradbook up` on this test's home; ends what is left of it after the test."""
    started: list[subprocess.Popen[bytes]] = []
    home = tmp_path / "home"

    def start(port: int | None = None, **variables: str) -> Up:
        port = port or free_port()
        clean = {name: text for name, text in os.environ.items() if "GRADBOOK" not in name}
        with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
            process = subprocess.Popen(
                _up_on(home, "--port", str(port), "--slots", "1"),
                cwd=ROOT,
                env=clean | {"TMPDIR": temporary} | variables,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        started.append(process)
        return Up(process, home, port)

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_SECONDS)
    for left in _of_home(home):
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()
            left.wait(10)


def _up_on(home: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "cli.main", "up", "--home", str(home), *options]


def _of_home(home: Path) -> list[psutil.Process]:
    """Processes that work in the home or were given it."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            known = [process.cwd(), process.environ().get("GRADBOOK_HOME", "")]
            if any(text.startswith(str(home)) for text in known):
                found.append(process)
    return found


def _alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def test_it_starts_stops_in_order_and_goes_on_where_it_was(start_up: StartUp) -> None:
    up = start_up()
    wait_until(up.ready, START_SECONDS, "up is ready")
    assert up.answers()
    wait_until(lambda: "  worker  " in up.words(), START_SECONDS, "the worker's step is told")
    assert up.has_a_worker()
    assert f"  http://127.0.0.1:{up.port}/docs\n" in up.words()
    for process in up.parts().values():
        assert os.getsid(process.pid) == process.pid != os.getsid(up.process.pid)
    with psycopg.connect(up.database_url()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS n")

    assert _refused(up, "--port", str(free_port())).endswith(f"process {up.process.pid}")

    ended = _ends_of_parts(up, signal.SIGINT)
    assert up.process.wait(STOP_SECONDS) == 0
    assert sorted(ended, key=lambda name: ended[name]) == list(RECORDS)
    wait_until(lambda: not _of_home(up.home), 5, "nothing of it runs")

    again = start_up(up.port)
    wait_until(again.ready, START_SECONDS, "up is ready again")
    with psycopg.connect(again.database_url()) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (42,)


def _refused(up: Up, *options: str) -> str:
    """What a second `up` on the same home says: the first sentence."""
    done = subprocess.run(
        _up_on(up.home, *options),
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
    )
    assert done.returncode == 1, done.stderr
    return done.stderr.split(". ")[0]


def _ends_of_parts(up: Up, number: signal.Signals) -> dict[str, float]:
    """Send the signal to `up` alone; when each of its parts ended."""
    parts = up.parts()
    ended: dict[str, float] = {}
    up.process.send_signal(number)

    def all_ended() -> bool:
        for name, process in parts.items():
            if name not in ended and not _alive(process):
                ended[name] = time.monotonic()
        return len(ended) == len(parts)

    wait_until(all_ended, STOP_SECONDS, "every part has ended")
    return ended


def test_a_job_that_runs_when_it_stops_goes_on_at_the_next_start(start_up: StartUp) -> None:
    up = start_up()
    wait_until(up.ready, START_SECONDS, "up is ready")
    jobs = f"http://127.0.0.1:{up.port}/v1/jobs"
    network = {"name": "linear"}
    spec = {"dataset": {"name": "digits"}, "network": network, "epochs": 1_000_000}
    job = f"{jobs}/{httpx.post(jobs, json=spec).json()['id']}"
    wait_until(lambda: httpx.get(job).json()["progress"]["iteration"], START_SECONDS, "rows")
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(STOP_SECONDS) == 0
    assert "\n1 running job saves and goes back to the queue; it goes on at the" in up.words()
    again = start_up()
    wait_until(again.ready, START_SECONDS, "up is ready")
    job = job.replace(str(up.port), str(again.port))

    def goes_on() -> bool:
        attempts = httpx.get(job).json()["attempts"]
        return len(attempts) == 2 and attempts[1]["last_iteration"] is not None

    wait_until(goes_on, START_SECONDS, "the job goes on")
    first, second = httpx.get(job).json()["attempts"]
    assert (first["outcome"], second["first_iteration"]) == (
        "preempted",
        first["last_iteration"] + 1,
    )


def test_a_job_whose_only_worker_dies_is_back_in_the_queue_within_the_promised_time(
    start_up: StartUp,
) -> None:
    """By the defaults, and though the worker that is to notice has to be started first."""
    up = start_up()
    wait_until(up.ready, START_SECONDS, "up is ready")
    jobs = f"http://127.0.0.1:{up.port}/v1/jobs"
    spec = {"dataset": {"name": "digits"}, "network": {"name": "linear"}, "epochs": 1_000_000}
    job = f"{jobs}/{httpx.post(jobs, json=spec).json()['id']}"
    wait_until(lambda: httpx.get(job).json()["progress"]["iteration"], START_SECONDS, "rows")
    worker = up.parts()["worker"]
    worker.kill()
    killed_at = time.monotonic()
    wait_until(
        lambda: httpx.get(job).json()["attempts"][0]["ended_at"], START_SECONDS, "it is reaped"
    )
    assert time.monotonic() - killed_at < BACK_SECONDS
    first = httpx.get(job).json()["attempts"][0]
    assert (first["outcome"], first["error"]["type"]) == ("lost", "Lost")
    wait_until(lambda: len(httpx.get(job).json()["attempts"]) == 2, START_SECONDS, "it goes on")


def test_a_part_that_dies_is_started_again(start_up: StartUp) -> None:
    up = start_up()
    wait_until(up.ready, START_SECONDS, "up is ready")
    wait_until(up.has_a_worker, START_SECONDS, "the worker is known")
    before = up.parts()
    for name in RECORDS:
        before[name].kill()
        wait_until(
            lambda name=name: up.pid(name) not in {None, before[name].pid},  # type: ignore[misc]
            START_SECONDS,
            f"{name} is started again",
        )
    wait_until(up.answers, START_SECONDS, "the API is ready")
    wait_until(up.has_a_worker, START_SECONDS, "the worker is known")
    after = up.parts()
    assert all(before[name] != after[name] for name in RECORDS)
    for name in ("API", "worker", "Valkey", "PostgreSQL"):
        assert f"{name} is started again" in up.words()


def test_what_a_killed_up_left_is_ended_by_the_next_one(start_up: StartUp) -> None:
    up = start_up()
    wait_until(up.ready, START_SECONDS, "up is ready")
    wait_until(up.has_a_worker, START_SECONDS, "the worker is known")
    before = up.parts()
    up.process.kill()
    up.process.wait(10)
    assert all(_alive(process) for process in before.values())

    again = start_up(up.port)
    wait_until(again.ready, START_SECONDS, "up is ready again")
    assert not any(_alive(process) for process in before.values())
    wait_until(again.has_a_worker, START_SECONDS, "the new worker is known")


def test_a_signal_in_the_middle_of_a_start_leaves_nothing_running(start_up: StartUp) -> None:
    up = start_up()
    wait_until(lambda: up.pid("postgres") is not None, START_SECONDS, "PostgreSQL is starting")
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(STOP_SECONDS) == 0
    assert up.output() == ""
    wait_until(lambda: not _of_home(up.home), 5, "nothing of it runs")


def test_a_taken_port_is_named_with_the_cure(start_up: StartUp) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        up = start_up(port)
        assert up.process.wait(START_SECONDS) == 1
    assert f"Port {port} on 127.0.0.1 is taken" in up.words()
    assert f"--port {port + 1}" in up.words()
    assert f"make up PORT={port + 1}" in up.words()
    assert "Traceback" not in up.words()
    assert not _of_home(up.home)


def test_servers_that_are_given_are_used_and_none_is_started(
    start_up: StartUp, database_url: str, broker_url: str
) -> None:
    up = start_up(GRADBOOK_DATABASE_URL=database_url, GRADBOOK_BROKER_URL=broker_url)
    wait_until(up.ready, START_SECONDS, "up is ready")
    wait_until(up.has_a_worker, START_SECONDS, "the worker is known")
    with psycopg.connect(database_url) as connection:
        pids = connection.execute("SELECT pid FROM workers").fetchall()
    assert pids == [(up.pid("worker"),)]
    assert not (up.home / "postgres").exists()
    assert not (up.home / "valkey").exists()
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(STOP_SECONDS) == 0
