"""What PostgreSQL and Valkey have in common as children of ours: start, wait, stop, clean up."""

import signal
import subprocess
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import psutil

from cli.stack.accounts import Account
from cli.stack.errors import ServerFailed
from cli.stack.folder import ServerFolder, is_free
from cli.stack.logs import last_lines
from cli.stack.process import (
    Record,
    name_of,
    stop_child,
    stop_other,
    wait_until,
    working_below,
)

_PORTS_TRIED = 5


class Server(ABC):
    """A server from a wheel, as a child of this process, on a loopback port.

    Args:
        folder: holds its data, port and password; made where missing. It belongs to whoever
            starts a server on it: one that still runs there is taken for a leftover and ended.
        log: where its output goes; a file in the folder where not given.
        stopping: set it to interrupt a start.

    """

    name: ClassVar[str]
    programs: ClassVar[frozenset[str]]
    gentle_signal: ClassVar[signal.Signals]
    start_seconds: ClassVar[float]
    stop_seconds: ClassVar[float]

    def __init__(
        self, folder: Path, *, log: Path | None = None, stopping: threading.Event | None = None
    ) -> None:
        self._folder = ServerFolder(folder)
        self.log = log or self._folder.root / f"{self.name.lower()}.log"
        self._stopping = stopping
        self._child: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it, password included; complete once it was started."""

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start it and return when it answers; what is missing is made.

        Raises:
            StackError: it can't be started; tells cause and cure. Nothing is left running.
            StopAsked: `stopping` was set meanwhile.

        """
        self._folder.make()
        self.end_leftovers()
        account = self._prepare()
        try:
            self._launch_on_a_port(account)
            self._complete()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it in its gentle way, and by force where that takes too long."""
        if self._child is not None:
            stop_child(self._child, self.gentle_signal, self.stop_seconds)
            self._folder.forget()

    def end_leftovers(self) -> None:
        """End a server, or what is left of one, that an earlier run left on this folder."""
        if self.alive:
            return
        for process in self._leftovers():
            stop_other(process, self.gentle_signal, self.stop_seconds)
        self._folder.forget()

    def _leftovers(self) -> list[psutil.Process]:
        """The server first: it ends its helpers in order.

        Known by its record; by where it works too, which finds helpers that lost their server,
        but which a container's root may not ask.
        """
        recorded = [record.process() for record in self._records()]
        found = [process for process in recorded if process is not None]
        found = [process for process in found if name_of(process) in self.programs]
        return found + working_below(self._folder.root, self.programs)

    def _records(self) -> list[Record]:
        record = self._folder.record
        return [] if record is None else [record]

    def _launch_on_a_port(self, account: Account) -> None:
        for left in reversed(range(_PORTS_TRIED)):
            self._port = self._folder.choose_port()
            self._child = self._launch(account)
            self._folder.remember(self._child.pid)
            try:
                self._wait()
            except ServerFailed:
                # Somebody else took the port between the look at it and the start.
                if is_free(self._port) or left == 0:
                    raise
            else:
                return

    def _wait(self) -> None:
        in_time = wait_until(
            lambda: self._answers() or not self.alive, self.start_seconds, self._stopping
        )
        if not self.alive:
            self.stop()
            raise ServerFailed(self.name, "ended while it started", last_lines(self.log))
        if not in_time:
            what = f"did not answer within {self.start_seconds:.0f} s"
            raise ServerFailed(self.name, what, last_lines(self.log))

    @abstractmethod
    def _prepare(self) -> Account:
        """Make or mend the data folder; tells who the server runs as."""

    @abstractmethod
    def _launch(self, account: Account) -> subprocess.Popen[bytes]: ...

    @abstractmethod
    def _answers(self) -> bool: ...

    @abstractmethod
    def _complete(self) -> None:
        """Do what is to be done once it answers."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
