"""The service on a home of its own that is gone afterwards: servers, API processes, a worker."""

import http.client
import os
import resource
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil
from pydantic import SecretStr
from sqlalchemy import Engine

from benchmarks.books import free_port
from benchmarks.wire import Wire
from cli.stack.process import spawn, stop_child, wait_until
from cli.stack.readiness import address
from cli.stack.role import gradbook
from cli.stack.stack import Stack
from foundation.settings import DatabaseSettings
from services.database import make_engine

HOST = "127.0.0.1"
START_SECONDS = 120.0
STOP_SECONDS = 15.0
ROOT = Path(__file__).parent.parent

Seen = TypeVar("Seen")


@dataclass(frozen=True, slots=True)
class Server:
    """A server of HTTP, with all of its processes."""

    url: str
    pid: int

    def cpu_seconds(self) -> float:
        """How much CPU it has used up to now."""
        times = self._each(psutil.Process.cpu_times)
        return sum(each.user + each.system for each in times)

    def memory_bytes(self) -> int:
        """How much memory it has; what its processes share is counted once."""
        return sum(each.pss for each in self._each(psutil.Process.memory_full_info))

    def _each(self, look: Callable[[psutil.Process], Seen]) -> list[Seen]:
        """Look at each of its processes; one that ends meanwhile is left out."""
        leader = psutil.Process(self.pid)
        found = []
        for process in (leader, *leader.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                found.append(look(process))
        return found


@dataclass(frozen=True, slots=True)
class Service:
    """Servers that run, with the schema in the database."""

    stack: Stack
    home: Path
    engine: Engine

    def environment(self) -> dict[str, str]:
        """What a process of the service needs to find its servers."""
        return {
            **os.environ,
            "GRADBOOK_HOME": str(self.home),
            "GRADBOOK_DATABASE_URL": self.stack.database_url,
            "GRADBOOK_BROKER_URL": self.stack.broker_url,
            "PYTHONPATH": str(ROOT),
        }

    @contextmanager
    def api(self, workers: int = 1) -> Iterator[Server]:
        """Serve the API with so many processes."""
        port = free_port()
        command = gradbook("api", "--port", str(port), "--workers", str(workers))
        log = self.home / f"api-{port}.log"
        with serving(command, port, log, self.environment()) as server:
            yield server

    @contextmanager
    def apis(self, counts: Iterable[int]) -> Iterator[dict[int, Server]]:
        """Serve the API beside itself on the same database: with so many processes, each."""
        with ExitStack() as stack:
            yield {workers: stack.enter_context(self.api(workers)) for workers in counts}

    @contextmanager
    def worker(self) -> Iterator[None]:
        """Run the stack's worker beside it."""
        self.stack.start_worker()
        try:
            yield
        finally:
            self.stack.worker.stop()


@contextmanager
def service() -> Iterator[Service]:
    """Start PostgreSQL and Valkey on a new home, and make the schema."""
    with tempfile.TemporaryDirectory(prefix="gradbook-bench-") as folder:
        home = Path(folder)
        with Stack(home, port=free_port(), slots=1) as stack:
            stack.start_servers()
            stack.migrate()
            settings = DatabaseSettings(url=SecretStr(stack.database_url), pool_size=20)
            engine = make_engine(settings, application_name="bench")
            try:
                yield Service(stack, home, engine)
            finally:
                engine.dispose()


@contextmanager
def serving(
    command: list[str], port: int, log: Path, environment: Mapping[str, str], ready: str = "/readyz"
) -> Iterator[Server]:
    """Run a server until `ready` is answered with 200, and end it with its whole group."""
    process = spawn(command, log=log, environment=environment)
    try:
        up = wait_until(lambda: process.poll() is not None or _answers(port, ready), START_SECONDS)
        if not up or process.poll() is not None:
            raise RuntimeError(f"{command[0]} does not serve:\n{log.read_text()[-2_000:]}")
        yield Server(address(HOST, port), process.pid)
    finally:
        stop_child(process, signal.SIGTERM, STOP_SECONDS)


def wait_for_worker(api: Server) -> None:
    """Wait until the API knows a worker that takes jobs.

    Raises:
        TimeoutError: none came.

    """
    with Wire(api.url) as wire:
        if not wait_until(lambda: bool(wire.get("/v1/workers")["items"]), START_SECONDS):
            raise TimeoutError(f"no worker within {START_SECONDS:.0f} s")


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=STOP_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def raise_file_limit(files: int) -> None:
    """Let this process, and what it starts, hold so many files and connections.

    Raises:
        ValueError: the machine does not allow it.

    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, max(files, hard)))
