"""Starting, recognising and ending processes."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from cli.stack.accounts import Account
from cli.stack.errors import ServerFailed, StopAsked
from cli.stack.logs import last_lines, open_log

_POLL_SECONDS = 0.02
# A process's start is computed from the clock of the day, which may be set in between.
_SAME_START_SECONDS = 5.0
_KILL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Record:
    """Which process it was: a pid alone is given again to others."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> "Record":
        return cls(pid, psutil.Process(pid).create_time())

    @classmethod
    def read(cls, path: Path) -> "Record | None":
        try:
            raw = json.loads(path.read_text())
            return cls(int(raw["pid"]), float(raw["started"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    def process(self) -> psutil.Process | None:
        """The process, if it still runs and is the same one."""
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.started) < _SAME_START_SECONDS
            return found if same and not is_gone(found) else None
        except psutil.Error:
            return None


def wait_until(
    condition: Callable[[], bool],
    seconds: float,
    stopping: threading.Event | None = None,
) -> bool:
    """Whether the condition came true in time.

    Raises:
        StopAsked: `stopping` was set meanwhile.

    """
    deadline = time.monotonic() + seconds
    while not condition():
        if stopping is not None and stopping.is_set():
            raise StopAsked
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def spawn(
    command: Sequence[str],
    *,
    log: Path,
    account: Account | None = None,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    text: str | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, its output appended to `log`.

    A session of its own, so that Ctrl-C on our terminal reaches only us and everything stops in
    order. `text` is what it reads from its standard input.
    """
    account = account or Account()
    who = account.identity()
    output = open_log(log)
    try:
        process = subprocess.Popen(
            account.command(command),
            stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=environment,
            start_new_session=True,
            user=who.user,
            group=who.group,
            extra_groups=who.extra_groups,
        )
    finally:
        os.close(output)
    if process.stdin is not None and text is not None:
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(text.encode())
    return process


def run_to_end(
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    account: Account | None = None,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    stopping: threading.Event | None = None,
) -> None:
    """Run a program that ends by itself.

    Raises:
        ServerFailed: it ended with another code than 0; carries its last lines.
        StopAsked: `stopping` was set; the program was ended.

    """
    process = spawn(command, log=log, account=account, cwd=cwd, environment=environment)
    try:
        wait_until(lambda: process.poll() is not None, float("inf"), stopping)
    except BaseException:
        end_group(process.pid)
        process.wait()
        raise
    if process.returncode != 0:
        raise ServerFailed(name, f"ended with code {process.returncode}", last_lines(log))


def stop_child(
    process: subprocess.Popen[bytes], gentle: signal.Signals, patience_seconds: float
) -> None:
    """Ask a child to end, and after `patience_seconds` end it with its whole session group."""
    if process.poll() is None:
        process.send_signal(gentle)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_seconds)
    if process.poll() is None:
        end_group(process.pid)
    process.wait()


def stop_other(process: psutil.Process, gentle: signal.Signals, patience_seconds: float) -> None:
    """The same for a process that is not our child: one that an earlier run left behind."""
    with contextlib.suppress(psutil.Error):
        process.send_signal(gentle)
        if wait_until(lambda: is_gone(process), patience_seconds):
            return
        family = [*process.children(recursive=True), process]
        for member in family:
            with contextlib.suppress(psutil.Error):
                member.kill()
        wait_until(lambda: all(is_gone(member) for member in family), _KILL_SECONDS)


def is_gone(process: psutil.Process) -> bool:
    """Whether it does nothing any more; where nobody reaps orphans it stays as a zombie."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


def name_of(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.Error:
        return ""


def end_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def working_below(folder: Path, programs: Collection[str]) -> list[psutil.Process]:
    """Processes of those names that work in a folder of `folder`: a server works in its data."""
    found = []
    for process in psutil.process_iter(["name"]):
        if process.info["name"] not in programs:
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if not is_gone(process) and Path(process.cwd()).parent == folder:
                found.append(process)
    return found
