"""`gradbook up`: the embedded stack in the foreground."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from cli.screen import duration, fact_line, shown_path
from cli.stack.errors import StopAsked
from cli.stack.stack import OnStep, Stack
from foundation.settings import Settings


def run_stack(
    home: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    slots: int | None = None,
    *,
    settings: Settings | None = None,
    on_step: OnStep | None = None,
) -> int:
    """Run PostgreSQL, Valkey, API and worker until Ctrl-C or SIGTERM; call it from the main thread.

    Prints `ready http://HOST:PORT` on standard output once the API is ready, and nothing else;
    what people want to know goes to standard error.

    Returns:
        0: it was asked to stop, and everything is stopped.

    Raises:
        StackError: something can't be started, or dies again and again; everything is stopped.

    """
    with stop_on_signals() as stopping:
        stack = Stack(
            home,
            host=host,
            port=port,
            slots=slots,
            settings=settings,
            on_step=on_step or _print_step,
            stopping=stopping,
        )
        with stack:
            _serve(stack, home)
    return 0


def _serve(stack: Stack, home: Path) -> None:
    _tell(f"Gradbook on this machine, until Ctrl-C. Data folder: {shown_path(home)}\n")
    try:
        stack.start()
    except StopAsked:
        return
    print(f"ready {stack.url}", flush=True)  # noqa: T201  (what callers wait for)
    _tell(fact_line("documents", f"{stack.url}/docs"))
    stack.watch(_tell)
    if running := stack.running_jobs():
        _tell(_what_becomes_of(running))
    _tell("stopping: API, worker, Valkey, PostgreSQL")


def _what_becomes_of(running: int) -> str:
    if running == 1:
        return "1 running job saves and goes back to the queue; it goes on at the next `up`."
    return f"{running} running jobs save and go back to the queue; they go on at the next `up`."


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM or a closed terminal sets, for as long as this lasts.

    A second signal changes nothing: stopping in order is already the fastest safe way.
    """
    stopping = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    wanted = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # ignored: started by nohup
        wanted.append(signal.SIGHUP)
    before = {number: signal.signal(number, ask) for number in wanted}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_step(name: str, seconds: float) -> None:
    _tell(fact_line(name, duration(seconds)))


def _tell(words: str) -> None:
    print(words, file=sys.stderr, flush=True)  # noqa: T201
