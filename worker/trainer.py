"""A trainer as its supervisor holds it: a child process and the near ends of its pipes."""

import contextlib
import fcntl
import os
import signal
import sys
import threading
import uuid
from dataclasses import replace
from multiprocessing.connection import Connection

from models.domain.lifecycle import Wish
from worker.child import Links, Orders, run_trainer
from worker.descendants import MARK, end_descendants, end_marked
from worker.forkserver import context, lock, without_main
from worker.wire import PING, encode_wish

PIPE_BYTES = 1 << 20
"""Room in the deliveries' pipe, so that a trainer does not wait for a flush to end."""


_living: set["Trainer"] = set()


def kill_all() -> None:
    """End every trainer of this process: the last thing before it leaves in a hurry."""
    for trainer in tuple(_living):
        trainer.kill()


class Trainer:
    """A child process that trains, in a process group of its own.

    Args:
        orders: what it is to do.

    """

    def __init__(self, orders: Orders) -> None:
        self.deliveries, deliveries = context.Pipe(duplex=False)
        control, self._control = context.Pipe(duplex=False)
        self.stdout, stdout = context.Pipe(duplex=False)
        self.stderr, stderr = context.Pipe(duplex=False)
        _widen(self.deliveries)
        self._control_lock = threading.Lock()
        self._leaving = False
        theirs = Links(deliveries, control, stdout, stderr)
        self._mark = uuid.uuid4().hex
        orders = replace(orders, environment={**orders.environment, MARK: self._mark})
        self._process = context.Process(
            target=run_trainer, args=(orders, theirs), name="trainer", daemon=True
        )
        try:
            with lock, without_main():
                self._process.start()
            _living.add(self)
        finally:
            for end in (deliveries, control, stdout, stderr):
                end.close()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    @property
    def sentinel(self) -> int:
        """Ready for reading once the process has ended."""
        return self._process.sentinel

    def exit_code(self) -> int | None:
        """None while it runs; negative where a signal ended it."""
        with lock:
            return self._process.exitcode

    def ping(self) -> None:
        """Let the trainer know that somebody listens."""
        with self._control_lock:
            self._send(PING)

    def tell(self, wish: Wish) -> None:
        """Pass on what somebody wants; a trainer that is gone does not mind.

        One that was told to leave hears of nothing but a cancel any more: it has no time for the
        evaluation of a stop. The book keeps that for the next.
        """
        with self._control_lock:
            if wish is Wish.CANCEL or not self._leaving:
                self._send(encode_wish(wish))

    def tell_to_leave(self) -> None:
        """Let the trainer save and leave, because its worker does: as for a pause, but for good."""
        with self._control_lock:
            self._leaving = True
            self._send(encode_wish(Wish.PAUSE))

    def kill(self) -> None:
        """End the process, its whole group and what has left that, at once. May be called again."""
        if self.exit_code() is None:
            # First, for who has lost its parent can't be found by it any more.
            end_descendants(self.pid)
        else:
            # It has left by itself, or by the kernel, perhaps without ending anything.
            end_marked(self._mark)
        # Before it has called setsid() it has no group of its own: then only itself.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        if self.exit_code() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Give back the pipes; the process has ended."""
        _living.discard(self)
        for end in (self.deliveries, self._control, self.stdout, self.stderr):
            end.close()
        with lock:
            self._process.close()

    def _send(self, message: bytes) -> None:
        with contextlib.suppress(OSError):
            self._control.send_bytes(message)


def _widen(pipe: Connection) -> None:
    if sys.platform == "linux":
        # Where the account's limit on pipes is reached, the usual 64 KiB do.
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
