"""The faults that chaos arms: whom they strike, how often, and what it costs where none is."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from foundation.faults import Moment
from tests.chaos.control import Action, Control
from tests.processes import ROOT
from tests.waiting import wait_until

COME_BY = """
import sys
from foundation.faults import Moment, reach
print("ready", flush=True)
sys.stdin.readline()
try:
    reach(Moment.BEFORE_COMMIT)
except Exception as error:
    sys.exit(f"{type(error).__module__}.{type(error).__name__}")
"""
MOST_SECONDS_A_MOMENT = 0.000_1


@pytest.fixture
def control(tmp_path: Path) -> Control:
    return Control(tmp_path / "control")


class Crowd:
    """Processes that wait for a word and then come to a moment, all at once."""

    def __init__(self, control: Control, count: int, **variables: str) -> None:
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-P", "-c", COME_BY],
                cwd=ROOT,
                env={**os.environ, **control.environment, **variables},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(count)
        ]
        for process in self.processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"

    def come_by(self) -> None:
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()

    def ends(self) -> list[int]:
        return [process.wait(30) for process in self.processes]

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture
def crowd(control: Control) -> Iterator["Crowd"]:
    with ExitStack() as stack:
        made = Crowd(control, 4)
        stack.callback(made.close)
        yield made


def test_an_armed_moment_kills_one_process_of_many_and_says_which(
    control: Control, crowd: Crowd
) -> None:
    control.arm(Moment.BEFORE_COMMIT, Action.KILL)
    assert control.is_armed(Moment.BEFORE_COMMIT)
    crowd.come_by()
    assert sorted(crowd.ends()) == [-signal.SIGKILL, 0, 0, 0]
    (hit,) = control.hits()
    killed = [each.pid for each in crowd.processes if each.returncode]
    assert (hit.moment, hit.action, [hit.pid]) == (Moment.BEFORE_COMMIT, Action.KILL, killed)
    assert not control.is_armed(Moment.BEFORE_COMMIT)


def test_one_that_is_stopped_goes_on_where_it_was(control: Control, crowd: Crowd) -> None:
    control.arm(Moment.BEFORE_COMMIT, Action.STOP)
    crowd.come_by()
    (hit,) = wait_until(control.hits, 30, "somebody is stopped")
    stopped = psutil.Process(hit.pid)
    wait_until(lambda: stopped.status() == psutil.STATUS_STOPPED, 30, "it stands still")
    stopped.send_signal(signal.SIGCONT)
    assert crowd.ends() == [0, 0, 0, 0]


def test_one_whose_answer_is_lost_is_told_what_psycopg_tells(
    control: Control, crowd: Crowd
) -> None:
    control.arm(Moment.BEFORE_COMMIT, Action.LOSE)
    crowd.come_by()
    assert sorted(crowd.ends()) == [0, 0, 0, 1]
    errors = {each.communicate()[1].strip() for each in crowd.processes}
    assert errors == {"", "psycopg.OperationalError"}


def test_a_crash_ends_the_postgres_of_the_home_before_it_goes_on(
    tmp_path: Path, control: Control
) -> None:
    # Who is started in the background may have been told to ignore the signal.
    code = (
        "import signal; signal.signal(signal.SIGQUIT, signal.SIG_DFL);"
        "print('ready', flush=True); signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        (tmp_path / "postgres").mkdir()
        (tmp_path / "postgres" / "process.json").write_text(json.dumps({"pid": server.pid}))
        control.arm(Moment.BEFORE_COMMIT, Action.CRASH)
        made = Crowd(control, 1, GRADBOOK_HOME=str(tmp_path))
        made.come_by()
        assert server.wait(30) == -signal.SIGQUIT
        assert made.ends() == [0]
        made.close()


def test_another_moment_and_one_that_is_disarmed_strike_nobody(
    control: Control, crowd: Crowd
) -> None:
    control.arm(Moment.AFTER_COMMIT, Action.KILL)
    control.arm(Moment.BEFORE_COMMIT, Action.KILL)
    control.disarm()
    control.arm(Moment.CLAIM, Action.KILL)
    crowd.come_by()
    assert crowd.ends() == [0, 0, 0, 0]
    assert control.hits() == []


def test_a_process_without_the_variable_has_no_hook(control: Control) -> None:
    environment = {**os.environ, **control.environment}
    del environment["GRADBOOK_CHAOS"]
    code = "from foundation import faults; print(len(faults._hooks))"
    hooks = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert hooks.stdout == "0\n"


def test_a_moment_at_which_nothing_is_armed_costs_next_to_nothing(control: Control) -> None:
    code = (
        "import timeit; from foundation.faults import Moment, reach;"
        "print(min(timeit.repeat(lambda: reach(Moment.BEFORE_COPY), number=1000)) / 1000)"
    )
    measured = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=ROOT,
        env={**os.environ, **control.environment},
        check=True,
        capture_output=True,
        text=True,
    )
    assert float(measured.stdout) < MOST_SECONDS_A_MOMENT
