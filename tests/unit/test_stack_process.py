import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from cli.stack.errors import ServerFailed, StopAsked
from cli.stack.process import (
    Record,
    is_gone,
    run_to_end,
    spawn,
    stop_child,
    stop_other,
    wait_until,
    working_below,
)
from tests.waiting import wait_until as expect

DEAF = "trap '' TERM; echo deaf; while :; do sleep 0.1; done"


def test_a_record_finds_its_process_again(tmp_path: Path) -> None:
    Record.of(os.getpid()).write(tmp_path / "record")
    found = Record.read(tmp_path / "record")
    assert found is not None
    assert found.process() == psutil.Process()


def test_a_record_of_a_pid_that_is_another_process_now_finds_nothing() -> None:
    record = Record.of(os.getpid())
    assert Record(record.pid, record.started - 60).process() is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": "x", "started": 1}', "null"])
def test_a_broken_record_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "record").write_text(text)
    assert Record.read(tmp_path / "record") is None


def test_a_spawned_program_has_a_session_of_its_own_and_appends_to_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("earlier\n")
    process = spawn(["/bin/sh", "-c", "cat; echo error >&2"], log=log, text="typed\n")
    try:
        assert os.getsid(process.pid) == process.pid
    finally:
        process.wait(10)
    assert log.read_text() == "earlier\ntyped\nerror\n"


def test_a_program_that_fails_is_told_with_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match=r"(?s)migrate ended with code 3.*no such table"):
        run_to_end("migrate", ["/bin/sh", "-c", "echo no such table; exit 3"], log=tmp_path / "log")


def test_a_program_is_ended_with_its_children_when_the_start_is_interrupted(tmp_path: Path) -> None:
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(StopAsked):
        run_to_end(
            "migrate",
            ["/bin/sh", "-c", "sleep 600 & sleep 600"],
            log=tmp_path / "log",
            cwd=tmp_path,
            stopping=stopping,
        )
    expect(lambda: not working_below(tmp_path.parent, {"sleep"}), 10, "no sleeper is left")


def test_a_child_that_ignores_the_gentle_signal_is_ended_by_force(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = spawn(["/bin/sh", "-c", DEAF], log=log)
    expect(lambda: "deaf" in log.read_text(), 10, "the child ignores SIGTERM")
    stop_child(process, signal.SIGTERM, 0.1)
    assert process.returncode == -signal.SIGKILL


def test_a_child_that_is_dead_is_stopped_quietly(tmp_path: Path) -> None:
    process = spawn(["/bin/true"], log=tmp_path / "log")
    process.wait(10)
    stop_child(process, signal.SIGTERM, 10)
    assert process.returncode == 0


def test_a_strange_process_that_ignores_the_gentle_signal_is_ended_by_force(tmp_path: Path) -> None:
    log = tmp_path / "log"
    pid = _start_as_an_orphan(DEAF, log)
    orphan = psutil.Process(pid)
    try:
        expect(lambda: "deaf" in log.read_text(), 10, "the orphan ignores SIGTERM")
        stop_other(orphan, signal.SIGTERM, 0.1)
        assert is_gone(orphan)
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            orphan.kill()


def _start_as_an_orphan(script: str, log: Path) -> int:
    starter = (
        "import subprocess, sys; "
        "print(subprocess.Popen(['/bin/sh', '-c', sys.argv[1]], stdout=open(sys.argv[2], 'w'), "
        "stderr=subprocess.STDOUT, start_new_session=True).pid)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", starter, script, str(log)],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout)


def test_waiting_ends_at_its_deadline() -> None:
    began = time.monotonic()
    assert not wait_until(lambda: False, 0.05)
    assert time.monotonic() - began < 5


def test_waiting_ends_when_it_is_interrupted() -> None:
    stopping = threading.Event()
    threading.Timer(0.05, stopping.set).start()
    with pytest.raises(StopAsked):
        wait_until(lambda: False, 60, stopping)


def test_programs_are_found_by_name_and_by_where_they_work(tmp_path: Path) -> None:
    data = tmp_path / "server" / "data"
    data.mkdir(parents=True)
    process = spawn(["/bin/sleep", "600"], log=tmp_path / "log", cwd=data)
    try:
        assert [found.pid for found in working_below(data.parent, {"sleep"})] == [process.pid]
        assert working_below(data.parent, {"postgres"}) == []
        assert working_below(tmp_path, {"sleep"}) == []
    finally:
        stop_child(process, signal.SIGKILL, 10)
