"""A trainer's own process: what stands around `train` in it. Runs in a fork of the forkserver.

It is the leader of its own process group, so that whatever it starts can be ended with it; it
sees its slot's device and no other; it knows no database and no broker.
"""

import contextlib
import importlib
import os
import pkgutil
import resource
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO

from models.domain.lifecycle import Outcome, StopReason, Wish
from worker.descendants import allow_descendants, end_descendants, end_own_descendants
from worker.sending import PipeSink
from worker.training.sink import Ended, Sink, StopSignal, TrainRequest
from worker.wire import Kind, decode_wish

MOST_TRACEBACK_CHARACTERS = 16_000
OOM_SCORE = "500"
"""How much sooner than others the kernel, short of memory, takes a trainer: 0 to 1000."""
SILENCE_EXIT_CODE = 70
"""The trainer's exit code where it left because nobody listens any more."""

# By name: the classes are the trainer's, and torch's own must be known without importing it.
# Without a reason to stop the job goes back to the queue.
_OUTCOMES: Mapping[str, tuple[Outcome, StopReason | None]] = {
    "Cancelled": (Outcome.CANCELLED, StopReason.CANCELLED),
    "Suspended": (Outcome.PREEMPTED, None),
    "Diverged": (Outcome.DIVERGED, StopReason.DIVERGED),
    "OutOfMemory": (Outcome.OUT_OF_MEMORY, None),
    "OutOfMemoryError": (Outcome.OUT_OF_MEMORY, None),
    "MemoryError": (Outcome.OUT_OF_MEMORY, None),
}
_OURS = frozenset({"worker", "torch", "builtins"})
_ORDERLY = frozenset({Outcome.CANCELLED, Outcome.PREEMPTED})


@dataclass(frozen=True)
class Links:
    """The trainer's ends of its pipes."""

    deliveries: Connection
    control: Connection
    stdout: Connection
    stderr: Connection


@dataclass(frozen=True)
class Orders:
    """What a trainer is started with; plain values, they travel.

    Args:
        train: where the training function is, "package.module:function".
        request: the attempt, in plain values.
        threads: CPU threads to compute with.
        environment: variables to set, or where the value is None to unset.
        silence_seconds: it ends by itself where the supervisor says nothing for so long.
        memory_bytes: the most that it may take for its data; None: as much as there is.

    """

    train: str
    request: TrainRequest
    threads: int
    environment: dict[str, str | None]
    silence_seconds: float
    memory_bytes: int | None = None


class WishBox:
    """The stop signal that training looks at: a plain attribute, set by the control thread.

    Nothing takes back a cancel. Else the last word holds: which wish gives way to which, the book
    and the supervisor have decided.
    """

    def __init__(self) -> None:
        self._wish: Wish | None = None

    def wanted(self) -> Wish | None:
        return self._wish

    def put(self, wish: Wish) -> None:
        if self._wish is not Wish.CANCEL:
            self._wish = wish


def run_trainer(orders: Orders, links: Links) -> None:
    """Train, tell how it ended, and leave without running anybody's exit handlers."""
    _settle(orders, links)
    sink = PipeSink(links.deliveries)
    sink.send(Kind.HELLO, {"pid": os.getpid()})
    wishes, leaving = WishBox(), threading.Lock()
    threading.Thread(
        target=_obey, args=(links.control, wishes, leaving, orders.silence_seconds), daemon=True
    ).start()
    code, mine = 0, os.getpid()
    try:
        _train(orders, sink, wishes)
    except BaseException as error:  # noqa: BLE001 - a process's edge: whatever it was is reported
        if os.getpid() != mine:
            # A fork of a program's own that came back here: its word is not the trainer's.
            os._exit(1)
        # For good where it leaves by the other thread, which has ended what this one waited for.
        leaving.acquire()
        # What is wrong must still be told where it is want of memory.
        _limit_data(resource.getrlimit(resource.RLIMIT_DATA)[1])
        code = _report_failure(sink, error)
    sys.stdout.flush()
    sys.stderr.flush()
    # Exit handlers of torch and of multiprocessing take time and can hang; all is delivered.
    os._exit(code)


def _settle(orders: Orders, links: Links) -> None:
    os.setsid()
    # Both reach a whole group or container at once: only the supervisor ends a trainer.
    allow_descendants()
    _bound_memory(orders.memory_bytes)
    os.dup2(links.stdout.fileno(), 1)
    os.dup2(links.stderr.fileno(), 2)
    links.stdout.close()
    links.stderr.close()
    sys.stdout, sys.stderr = _line_writer(1), _line_writer(2)
    for name, value in orders.environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _bound_memory(most_bytes: int | None) -> None:
    """Let a trainer that leaks be the one that ends, and not its worker or the database."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    if most_bytes is not None:
        _limit_data(most_bytes)


def _limit_data(most_bytes: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, hard))


def _line_writer(number: int) -> TextIO:
    """A stream that hands on each line as it is printed, and refuses no character."""
    return open(
        number, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )


def _train(orders: Orders, sink: PipeSink, wishes: WishBox) -> None:
    torch = importlib.import_module("torch")
    torch.set_num_threads(orders.threads)
    train: Callable[[TrainRequest, Sink, StopSignal], Ended] = pkgutil.resolve_name(orders.train)
    mine = os.getpid()
    try:
        ended = train(orders.request, sink, wishes)
    finally:
        # Not in what a team's code has forked and let come back here.
        if os.getpid() == mine:
            end_own_descendants()
    sink.send(
        Kind.ENDED,
        {
            "stop_reason": ended.stop_reason,
            "iterations": ended.iterations,
            "loss_sha256": ended.loss_sha256,
            "weights_sha256": ended.weights_sha256,
        },
    )


def _report_failure(sink: PipeSink, error: BaseException) -> int:
    # One of a team's own that happens to have the name of ours is an error like any other.
    ours = str(type(error).__module__).partition(".")[0] in _OURS
    name = type(error).__name__
    ends = None if _may_do_better(error) else StopReason.ERROR
    outcome, reason = _OUTCOMES.get(name if ours else "", (Outcome.ERROR, ends))
    text = "".join(traceback.format_exception(error))
    sink.send(
        Kind.FAILED,
        {
            "outcome": outcome,
            "stop_reason": reason,
            "error": {
                "type": name,
                "message": _message_of(error)[:MOST_TRACEBACK_CHARACTERS],
                "traceback": text[-MOST_TRACEBACK_CHARACTERS:],
            },
        },
    )
    return 0 if outcome in _ORDERLY else 1


def _may_do_better(error: BaseException) -> bool:
    """Whether another attempt may: a store or a device can fail, a spec fails every time."""
    by_itself = isinstance(error, OSError) or type(error).__name__ == "AcceleratorError"
    try:
        return bool(getattr(error, "retryable", by_itself))
    except Exception:  # noqa: BLE001 - a team's own, which can't be asked
        return by_itself


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as unsaid:  # noqa: BLE001 - a team's own, which can't be asked
        return f"(its message can't be read: {type(unsaid).__name__})"


def _obey(
    control: Connection, wishes: WishBox, leaving: threading.Lock, silence_seconds: float
) -> None:
    """Pass wishes on; leave where the supervisor is gone or has fallen silent.

    By `os._exit`: the thread that trains may sit in a kernel for minutes.
    """
    with contextlib.suppress(EOFError, OSError):
        while control.poll(silence_seconds):
            wish = decode_wish(control.recv_bytes())
            if wish is not None:
                wishes.put(wish)
    leaving.acquire(blocking=False)
    # Nobody else is there to do it.
    end_descendants(os.getpid())
    os._exit(SILENCE_EXIT_CODE)
