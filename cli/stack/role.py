"""A process of Gradbook's own, the API or the worker, as a child of ours."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cli.stack.process import Record, spawn, stop_child, stop_other

_GENTLE = signal.SIGTERM


class Role:
    """`gradbook <arguments>` in a session of its own.

    Args:
        name: what people call it.
        arguments: of the `gradbook` command.
        log: its output.
        record: the file that remembers its process for the next run.
        stop_seconds: how long it may take to end after SIGTERM.
        environment: asked at each start: the servers' URLs may have changed.

    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        log: Path,
        record: Path,
        stop_seconds: float,
        environment: Callable[[], Mapping[str, str]],
    ) -> None:
        self.name = name
        self.log = log
        self._arguments = tuple(arguments)
        self._record = record
        self._stop_seconds = stop_seconds
        self._environment = environment
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start it; whether it serves is for the caller to find out."""
        self._child = spawn(
            gradbook(*self._arguments), log=self.log, environment=self._environment()
        )
        Record.of(self._child.pid).write(self._record)

    def stop(self) -> None:
        if self._child is not None:
            stop_child(self._child, _GENTLE, self._stop_seconds)
        self._record.unlink(missing_ok=True)

    def end_leftovers(self) -> None:
        """End the process that an earlier run, killed itself, left behind."""
        record = Record.read(self._record)
        process = None if record is None else record.process()
        if process is not None and not self.alive:
            stop_other(process, _GENTLE, self._stop_seconds)
        with contextlib.suppress(FileNotFoundError):
            self._record.unlink()


def gradbook(*arguments: str) -> list[str]:
    # -P: a folder named `api` where the user happens to stand must not be taken for ours.
    return [sys.executable, "-P", "-m", "cli.main", *arguments]
