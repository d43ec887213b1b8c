"""`gradbook demo` from an empty home to its last line, and `gradbook up` on the same home after."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from tests.processes import ROOT, end, free_port
from tests.waiting import wait_until

DEMO_SECONDS = 150
JOB = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cli.main", *arguments]


def _environment() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if "GRADBOOK" not in name}
    # As where nobody has activated the virtual environment.
    folder = str(Path(sys.executable).parent)
    path = [part for part in clean["PATH"].split(os.pathsep) if part != folder]
    return clean | {"PATH": os.pathsep.join(path)}


def _started_for(home: Path) -> list[str]:
    """Processes that know of the home, by their arguments, folder or environment."""
    found = []
    for process in psutil.process_iter():
        try:
            known = [*process.cmdline(), process.cwd(), *process.environ().values()]
        except (psutil.Error, OSError):
            continue
        if process.pid != os.getpid() and any(str(home) in text for text in known):
            found.append(f"{process.pid} {' '.join(process.cmdline())}")
    return found


def _nothing_is_left(home: Path) -> None:
    # What has lost its worker looks once more, and goes.
    wait_until(lambda: not _started_for(home), 5, f"nothing of {home} runs")


def _fact(output: str, name: str) -> str:
    found = re.search(rf"^  {name} +(.+)$", output, re.MULTILINE)
    assert found, output
    return found[1]


@pytest.mark.timeout(300)
def test_the_demo_trains_and_tells_and_leaves_a_home_that_up_serves(tmp_path: Path) -> None:
    home, port = tmp_path / "a home", free_port()
    options = ("--home", str(home), "--port", str(port))
    demo = subprocess.run(
        _command("demo", *options),
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=DEMO_SECONDS,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    output = demo.stdout
    for step in ("PostgreSQL", "Valkey", "schema", "API", "worker", "stopped in"):
        assert re.fullmatch(r"\d+\.\d s", _fact(output, step)), output
    assert float(_fact(output, "test accuracy")) >= 0.97
    assert float(_fact(output, "final loss")) < 1
    rows = re.fullmatch(
        r"([\d,]+) by SQL, ([\d,]+) over REST; planned ([\d,]+)", _fact(output, "iteration rows")
    )
    assert rows
    assert len(set(rows.groups())) == 1
    assert re.fullmatch(r"\d\.\d\d s after the POST", _fact(output, "first row"))
    assert "Traceback" not in demo.stderr

    job_id = JOB.search(_fact(output, "job"))
    assert job_id
    job_url = f"http://127.0.0.1:{port}/v1/jobs/{job_id[0]}"
    last = output.splitlines()[-1]
    assert last.endswith(f" up --home '{home}' --port {port}   # then {job_url}")
    _nothing_is_left(home)

    hints = [line.strip() for line in output.splitlines() if line.startswith(("  curl", "  PGP"))]
    assert len(hints) == 3
    _serves_again(last.partition("   #")[0], job_url, int(rows[3].replace(",", "")), hints)
    _nothing_is_left(home)


def _serves_again(command: str, job_url: str, iterations: int, hints: list[str]) -> None:
    """The demo's last line, run as it was printed, serves its job; its hints show its numbers."""
    with subprocess.Popen(
        ["/bin/sh", "-c", f"exec {command}"],
        cwd=ROOT,
        env=_environment(),
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as up:
        try:
            assert up.stdout
            assert up.stdout.readline().startswith(b"ready http://127.0.0.1:")
            job = httpx.get(job_url).json()
            assert job["state"] == "succeeded"
            assert job["book"]["rows"] == iterations
            _refuses_beside(command)
            shown = [_shell(hint) for hint in hints]
        finally:
            end(up)
    assert up.returncode == 0
    assert json.loads(shown[0])["total"] == iterations
    assert json.loads(shown[1])["items"][-1]["last_iteration"] == iterations
    assert shown[2].split()[2] == str(iterations)


def _refuses_beside(command: str) -> None:
    """While `up` serves the home, the demo says how its job is trained there."""
    demo = subprocess.run(
        ["/bin/sh", "-c", command.replace(" up ", " demo ")],
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert demo.returncode == 1
    assert "is in use by process" in demo.stderr
    assert "gradbook submit examples/digits.json --watch" in demo.stderr


def _shell(line: str) -> str:
    return subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout


def test_an_interrupted_demo_stops_what_it_started(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with subprocess.Popen(
        _command("demo", "--home", str(home), "--port", str(free_port())),
        cwd=ROOT,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as demo:
        assert demo.stdout
        told = ""
        while not re.search(r"^  schema ", told, re.MULTILINE):
            line = demo.stdout.readline()
            assert line, told
            told += line
        demo.send_signal(signal.SIGINT)
        told += demo.stdout.read()
        assert demo.wait(60) == 130, told
    assert told.splitlines()[-1].startswith("Interrupted")
    assert "Traceback" not in told
    _nothing_is_left(home)


def test_a_taken_port_is_named_with_the_cure(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        demo = subprocess.run(
            _command("demo", "--home", str(home), "--port", str(port)),
            cwd=ROOT,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert demo.returncode == 1
    cure = re.search(rf"Port {port} is taken.*demo.*--port (\d+)", demo.stderr, re.DOTALL)
    assert cure, demo.stderr
    assert int(cure[1]) > port
    assert "Traceback" not in demo.stderr
    _nothing_is_left(home)
