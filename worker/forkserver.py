"""Where trainers come from: a server process that has torch imported and has computed nothing.

Forking it costs milliseconds; importing torch and torch._dynamo costs seconds. It must only
import: a child of a process that has used OpenMP hangs.
"""

import contextlib
import importlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType

PRELOAD = "worker.training.preload"
WARM_UP_SECONDS = 120.0

context = multiprocessing.get_context("forkserver")

# multiprocessing keeps a list of children without a lock: starts and looks at exit codes in
# several threads lost codes. Both happen under this one.
lock = threading.Lock()


class ForkserverUnfit(RuntimeError):
    """The forkserver is not what trainers must be forked from."""


def start_forkserver() -> int:
    """Start the server and prove it by one throw-away child. Call from the main thread.

    Returns:
        The number of CUDA devices that a trainer can see; asked in the child, so that neither
        this process nor the server ever touches CUDA.

    Raises:
        ForkserverUnfit: the preload did not import, or threads run in the server.

    """
    # The second is ours and small; it is what every trainer starts in.
    context.set_forkserver_preload([PRELOAD, "worker.child"])
    with _preload_environment():
        forkserver.ensure_running()
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=_report, args=(there, PRELOAD), daemon=True)
    with lock, without_main():
        child.start()
    there.close()
    try:
        if not here.poll(WARM_UP_SECONDS):
            raise ForkserverUnfit(f"its first child said nothing for {WARM_UP_SECONDS:.0f} s")
        preloaded, threads, devices = here.recv()
    except EOFError:
        raise ForkserverUnfit("its first child died") from None
    finally:
        here.close()
    child.join()
    if not preloaded:
        raise ForkserverUnfit(f"{PRELOAD} does not import: python -m {PRELOAD} tells why")
    if threads > 1:
        raise ForkserverUnfit(f"{threads} threads run in it: something computes at import")
    return int(devices)


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """Start a child without running this process's main module in it again.

    multiprocessing would import it under another name, for scripts that define their functions
    there; ours don't, and a command line's imports would cost each job a quarter of a second.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _preload_environment() -> Iterator[None]:
    """The server's environment: it finds our modules, and no library starts threads in it."""
    root = str(Path(__file__).parent.parent)
    changed = {
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
        "OPENBLAS_NUM_THREADS": "1",
    }
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _report(there: Connection, preload: str) -> None:
    preloaded = preload in sys.modules
    threads = len(list(Path(f"/proc/{os.getppid()}/task").glob("*")))
    torch = importlib.import_module("torch")
    there.send((preloaded, threads, torch.cuda.device_count()))
