"""Processes that a trainer starts: they may leave its group, and they end with it."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys

import psutil

MARK = "TRAINER_OF_GRADBOOK"
"""In a trainer's environment, and of what it starts: by its value these are found without it."""

_PR_SET_CHILD_SUBREAPER = 36
_ROUNDS = 10


def allow_descendants() -> None:
    """Let the code that a trainer calls start processes as it does anywhere.

    A daemon of multiprocessing, as a trainer is for its worker, may start none by it.
    """
    multiprocessing.current_process().daemon = False
    _adopt_orphans()
    _hear_signals_as_others_do()


def end_own_descendants() -> None:
    """End whatever this process has started, in its main thread, once nothing else is to be done.

    Nobody is told of it: torch has a handler for the death of a DataLoader's workers, and what it
    raises would take the place of how the code that made them came out.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    end_descendants(os.getpid())


def end_descendants(pid: int) -> None:
    """End whatever a process has started, in whatever group or session it is by now."""
    for _ in range(_ROUNDS):
        with contextlib.suppress(psutil.Error):
            below = psutil.Process(pid).children(recursive=True)
            alive = [each for each in below if _is_alive(each)]
            if not alive:
                return
            for each in alive:
                with contextlib.suppress(psutil.Error):
                    each.kill()


def end_marked(mark: str) -> None:
    """End whatever was started by a process that is gone, in whatever session it is by now.

    What has no environment of its own, a fork that executes nothing, is not found by it.
    """
    for _ in range(_ROUNDS):
        found = [each for each in psutil.process_iter() if _has(each, mark)]
        if not found:
            return
        for each in found:
            with contextlib.suppress(psutil.Error):
                each.kill()


def _adopt_orphans() -> None:
    """Let a process whose parent has left become a child of this one, and not of the machine's."""
    if sys.platform == "linux":
        # Where it can't be done a process that hides twice is out of reach.
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _hear_signals_as_others_do() -> None:
    """Let what the trainer forks or starts be ended by SIGTERM and SIGINT.

    The trainer itself is ended by its supervisor alone. An ignored signal would stay ignored in a
    program that is executed; a handler of Python's does not.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _deaf)
        signal.siginterrupt(number, False)
    os.register_at_fork(after_in_child=_hear)


def _has(process: psutil.Process, mark: str) -> bool:
    # Other accounts' can't be read, and are none of ours.
    with contextlib.suppress(psutil.Error, OSError):
        return bool(process.environ().get(MARK) == mark and _is_alive(process))
    return False


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _deaf(_number: int, _frame: object) -> None:
    """Hear, and do nothing."""


def _hear() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
