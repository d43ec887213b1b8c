"""The ear of a supervisor: a thread that reads a trainer's pipes, and ends it when it must.

It never waits for the database: while a flush hangs, the trainer is still heard, pinged and,
where somebody wants it gone, ended in time.
"""

import fcntl
import os
import struct
import termios
import threading
import time
from enum import Enum
from multiprocessing.connection import Connection, wait

from foundation.logging import get_logger
from services.pages import LogLine
from worker.loglines import LineReader
from worker.shutdown import Shutdown
from worker.trainer import Trainer
from worker.wire import Delivery, FrameBroken, FrameReader, Kind

log = get_logger("worker")

TICK_SECONDS = 0.2
PING_SECONDS = 1.0
ANSWER_SECONDS = 1.25
"""How long a trainer may take to obey a cancel; then its process group is ended."""
LEAVE_SECONDS = 5.0
"""How long a trainer may take to leave after its last word."""
LEAVING_SHARE = 0.8
"""How much of a worker's grace a trainer may use to save and leave; the rest is for the book."""
MOST_WAITING_BYTES = 64 * 2**20
"""What is kept for the next flush, where the database is away; then the trainer waits."""
READ_BYTES = 65_536

URGENT = frozenset({Kind.ROWS, Kind.EPOCH, Kind.CHECKPOINT, Kind.ARTIFACT, Kind.ENDED, Kind.FAILED})
LAST_WORDS = frozenset({Kind.ENDED, Kind.FAILED})


class Why(Enum):
    """Why a trainer was ended from outside."""

    CANCEL = "cancel"
    STALLED = "stalled"
    STOP = "stop"
    SHUTDOWN = "shutdown"
    FENCE = "fence"
    SILENT = "silent"
    BROKEN = "broken"


class Listener:
    """Reads one trainer until it is gone.

    Args:
        trainer: the trainer; it is read by this thread alone.
        shutdown: the worker's; once set, the trainer is told and soon ended.
        stall_seconds: how long the trainer may report no progress.

    """

    def __init__(self, trainer: Trainer, shutdown: Shutdown, stall_seconds: float) -> None:
        self._trainer = trainer
        self._shutdown = shutdown
        self._stall_seconds = stall_seconds
        self._changed = threading.Condition()
        self._deliveries: list[Delivery] = []
        self._lines: list[LogLine] = []
        self._told_to_leave = False
        self._waiting_bytes = 0
        self._urgent = False
        self._gone = False
        self._ends: list[tuple[float, Why]] = []
        self._readers = {
            trainer.stdout: LineReader("stdout"),
            trainer.stderr: LineReader("stderr"),
        }
        self._frames = FrameReader()
        self._open: set[Connection] = {trainer.deliveries, *self._readers}
        self._heard_at = time.monotonic()
        self._pinged_at = 0.0
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
        self.ended_for: Why | None = None
        self.last_words: Delivery | None = None

    def start(self) -> None:
        self._thread.start()

    @property
    def gone(self) -> bool:
        """The trainer has ended, and all that it said can be taken."""
        return self._gone

    def wait(self, seconds: float) -> None:
        """Wait for something that wants to be in the book at once, or for that long."""
        with self._changed:
            self._changed.wait_for(lambda: self._urgent or self._gone, seconds)

    def pause(self, seconds: float) -> None:
        """Wait that long, unless the trainer goes."""
        with self._changed:
            self._changed.wait_for(lambda: self._gone, seconds)

    def wait_until_gone(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._gone)

    def take(self) -> tuple[list[Delivery], list[LogLine]]:
        """Everything since the last time, in order.

        Metrics that come last stay: the rows of their iterations may be on their way, and what is
        taken together is booked together.
        """
        with self._changed:
            end = len(self._deliveries)
            while end and self._deliveries[end - 1].kind is Kind.METRICS:
                end -= 1
            taken = self._deliveries[:end], self._lines
            self._deliveries, self._lines = self._deliveries[end:], []
            self._waiting_bytes = sum(each.size_bytes for each in self._deliveries)
            self._urgent = False
            return taken

    def end_in(self, seconds: float, why: Why) -> None:
        """End the trainer after so many seconds, unless it has left by then."""
        with self._changed:
            if self._gone:
                return
            self._ends.append((time.monotonic() + seconds, why))
        if seconds <= 0:
            self._end_if_due()

    def _run(self) -> None:
        try:
            while not self._listen_once():
                pass
        except Exception:  # a thread's edge: without an ear the trainer must not go on
            log.exception("listener.failed", trainer=self._trainer.pid)
            self.ended_for = self.ended_for or Why.BROKEN
            self._trainer.kill()
            wait([self._trainer.sentinel])
        finally:
            with self._changed:
                self._gone = True
                self._changed.notify_all()

    def _listen_once(self) -> bool:
        """Hear what there is; True once the trainer is gone and its pipes are read empty."""
        ears: list[Connection | int] = [self._trainer.sentinel]
        if self._waiting_bytes < MOST_WAITING_BYTES:
            ears += self._open
        else:
            # The database keeps it waiting: that is no stall of its own.
            self._heard_at = time.monotonic()
        ready = wait(ears, self._until_next_end())
        for ear in ready:
            if isinstance(ear, Connection):
                self._hear(ear)
        if self._trainer.sentinel in ready:
            self._hear_the_rest()
            return True
        self._look_at_the_clock()
        return False

    def _hear(self, ear: Connection) -> None:
        try:
            data = os.read(ear.fileno(), READ_BYTES)
            if not data:
                self._open.discard(ear)
            elif ear is self._trainer.deliveries:
                for delivery in self._frames.feed(data):
                    self._deliver(delivery)
            else:
                self._print(self._readers[ear].feed(data))
        except FrameBroken:
            log.exception("trainer.frame_broken", trainer=self._trainer.pid)
            self._open.discard(ear)
            self.end_in(0, Why.BROKEN)

    def _hear_the_rest(self) -> None:
        # What it has started goes too; while that holds a pipe open, the pipe has no end.
        self._trainer.kill()
        for ear in tuple(self._open):
            # What lies there now is of the trainer; one that is still there could add for ever.
            for _ in range(0, _bytes_in(ear), READ_BYTES):
                if ear in self._open:
                    self._hear(ear)
        for reader in self._readers.values():
            self._print(reader.close())

    def _deliver(self, delivery: Delivery) -> None:
        self._heard_at = time.monotonic()
        with self._changed:
            self._deliveries.append(delivery)
            self._waiting_bytes += delivery.size_bytes
            if delivery.kind in URGENT:
                self._urgent = True
                self._changed.notify_all()
        if delivery.kind in LAST_WORDS:
            self.last_words = delivery
            self.end_in(LEAVE_SECONDS, Why.SILENT)

    def _print(self, lines: list[LogLine]) -> None:
        with self._changed:
            self._lines += lines
            self._waiting_bytes += sum(len(line.text) for line in lines)

    def _look_at_the_clock(self) -> None:
        now = time.monotonic()
        if now - self._pinged_at >= PING_SECONDS:
            self._trainer.ping()
            self._pinged_at = now
        if now - self._heard_at >= self._stall_seconds:
            self.end_in(0, Why.STALLED)
        if self._shutdown.begun and not self._told_to_leave:
            self._told_to_leave = True
            self._trainer.tell_to_leave()
            self.end_in(LEAVING_SHARE * self._shutdown.remaining_seconds, Why.SHUTDOWN)
        self._end_if_due()

    def _until_next_end(self) -> float:
        with self._changed:
            soonest = min((at for at, _ in self._ends), default=None)
        if soonest is None:
            return TICK_SECONDS
        # One that was ended is asked again and again, but not without a breath.
        return min(TICK_SECONDS, max(0.01, soonest - time.monotonic()))

    def _end_if_due(self) -> None:
        now = time.monotonic()
        with self._changed:
            due = [why for at, why in self._ends if at <= now]
        if due:
            self.ended_for = self.ended_for or due[0]
            self._trainer.kill()


def _bytes_in(pipe: Connection) -> int:
    """How much can be read of it without waiting."""
    (count,) = struct.unpack("i", fcntl.ioctl(pipe.fileno(), termios.FIONREAD, bytes(4)))
    return int(count)
