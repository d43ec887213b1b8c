"""The embedded stack as one thing: PostgreSQL, Valkey, API and worker on one home."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from cli.stack.errors import ServerFailed
from cli.stack.home import Home
from cli.stack.logs import bound, last_lines
from cli.stack.postgres import EmbeddedPostgres
from cli.stack.preflight import check_listening, check_python, check_room
from cli.stack.process import run_to_end, wait_until
from cli.stack.readiness import address, is_ready, serving_workers
from cli.stack.role import Role, gradbook
from cli.stack.server import Server
from cli.stack.valkey import EmbeddedValkey
from cli.stack.watch import Part, Watch
from foundation.settings import Settings

OnStep = Callable[[str, float], None]

_API_START_SECONDS = 60.0
_API_STOP_SECONDS = 15.0
_WORKER_START_SECONDS = 120.0
_WORKER_STOP_SPARE_SECONDS = 10.0
_LOOK_SECONDS = 0.25


class Stack:
    """The parts of one home, to be started one by one or all at once; a context manager.

    Entering takes the home's lock, ends what a killed run left behind and checks that there is
    room; leaving stops everything in order: API, worker, broker, database.

    Args:
        home: the data folder.
        host: where the API listens.
        port: where the API listens.
        slots: jobs at once; None leaves it to the worker.
        settings: where they name a database or a broker, no server is started for that part.
        on_step: is told each finished step and its seconds.
        stopping: set it to interrupt a start or to end `watch`.

    """

    def __init__(
        self,
        home: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        slots: int | None = None,
        settings: Settings | None = None,
        on_step: OnStep = lambda _name, _seconds: None,
        stopping: threading.Event | None = None,
    ) -> None:
        self._settings = settings or Settings()
        self._home = Home(home)
        self._host, self._port = host, port
        self._on_step = on_step
        self.stopping = stopping or threading.Event()
        self.postgres = self._embedded_postgres()
        self.valkey = self._embedded_valkey()
        self.api = self._role(
            "API", "api", "--host", host, "--port", str(port), stop_seconds=_API_STOP_SECONDS
        )
        self.worker = self._role(
            "worker",
            "worker",
            *([] if slots is None else ["--slots", str(slots)]),
            stop_seconds=self._settings.worker.grace_seconds + _WORKER_STOP_SPARE_SECONDS,
        )
        self._worker_began = time.monotonic()

    @property
    def url(self) -> str:
        """Where the API answers."""
        return address(self._host, self._port)

    @property
    def database_url(self) -> str:
        given = self._settings.database.url
        return self.postgres.url if self.postgres else given.get_secret_value() if given else ""

    @property
    def broker_url(self) -> str:
        given = self._settings.broker.url
        return self.valkey.url if self.valkey else given.get_secret_value() if given else ""

    def start(self) -> None:
        """Everything, until the API is ready; the worker may still be loading then.

        Raises:
            StackError: something can't be started; tells cause and cure.
            StopAsked: `stopping` was set meanwhile.

        """
        self.start_servers()
        self.migrate()
        self.start_worker()
        self.start_api()

    def start_servers(self) -> None:
        for server in self._servers():
            with self._step(server.name):
                server.start()

    def migrate(self) -> None:
        with self._step("schema"):
            run_to_end(
                "migrate",
                gradbook("migrate"),
                log=self._home.log("migrate"),
                environment=self._environment(),
                stopping=self.stopping,
            )

    def start_api(self) -> None:
        """Start the API and wait until `/readyz` is 200."""
        with self._step("API"):
            check_listening(self._host, self._port)
            self.api.start()
            self._wait_for(self.api, lambda: is_ready(self._host, self._port), _API_START_SECONDS)

    def start_worker(self) -> None:
        """Start the worker; it takes jobs a while later: see `wait_for_worker`."""
        self._worker_began = time.monotonic()
        self.worker.start()

    def wait_for_worker(self) -> None:
        """Wait until the API lists this stack's worker."""
        with self._step("worker"):
            self._wait_for(
                self.worker,
                self._worker_serves,
                _WORKER_START_SECONDS,
            )

    def running_jobs(self) -> int:
        """How many jobs this stack's worker runs, as the API knows; 0 where it cannot say."""
        return serving_workers(self._host, self._port).get(self.worker.pid or 0, 0)

    def watch(self, tell: Callable[[str], None] = lambda _: None) -> None:
        """Keep the parts alive until `stopping` is set; a step is told once the worker serves.

        Raises:
            ServerFailed: a part dies again and again.

        """
        watch = Watch([*self._servers(), self.api, self.worker], time.monotonic(), tell)
        urls = self.database_url, self.broker_url
        serves = False
        while not self.stopping.wait(_LOOK_SECONDS):
            watch.look(time.monotonic())
            if not serves and self._worker_serves():
                serves = True
                self._on_step("worker", time.monotonic() - self._worker_began)
            if urls != (self.database_url, self.broker_url):
                # A server came back on another port: its clients must be told the new one.
                urls = self.database_url, self.broker_url
                self.api.stop()
                self.worker.stop()

    def stop(self) -> None:
        """Stop what runs, in order; nothing of it is left when this returns."""
        with contextlib.ExitStack() as last_first:
            last_first.callback(self._home.release)
            for server in self._servers():
                last_first.callback(server.stop)
            last_first.callback(self.worker.stop)
            last_first.callback(self.api.stop)

    def __enter__(self) -> Self:
        check_python()
        check_room(self._home.path)
        self._home.take()
        try:
            self._end_leftovers()
            check_listening(self._host, self._port)
        except BaseException:
            self._home.release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _end_leftovers(self) -> None:
        parts: list[Role | Server] = [self.api, self.worker, *reversed(self._servers())]
        for part in parts:
            part.end_leftovers()
            bound(part.log)

    def _embedded_postgres(self) -> EmbeddedPostgres | None:
        if self._settings.database.url:
            return None
        log = self._home.log("postgres")
        return EmbeddedPostgres(self._home.postgres, log=log, stopping=self.stopping)

    def _embedded_valkey(self) -> EmbeddedValkey | None:
        if self._settings.broker.url:
            return None
        log = self._home.log("valkey")
        return EmbeddedValkey(self._home.valkey, log=log, stopping=self.stopping)

    def _role(self, name: str, command: str, *options: str, stop_seconds: float) -> Role:
        return Role(
            name,
            [command, *options],
            log=self._home.log(command),
            record=self._home.record(command),
            stop_seconds=stop_seconds,
            environment=self._environment,
        )

    def _servers(self) -> list[Server]:
        return [server for server in (self.postgres, self.valkey) if server is not None]

    def _environment(self) -> Mapping[str, str]:
        ours = {
            "GRADBOOK_HOME": str(self._home.path),
            "GRADBOOK_DATABASE_URL": self.database_url,
            "GRADBOOK_BROKER_URL": self.broker_url,
        }
        if self.postgres is not None:
            # The way past a pooler would lead to somebody else's server.
            ours["GRADBOOK_DATABASE_DIRECT_URL"] = ""
        return {**os.environ, **ours}

    def _worker_serves(self) -> bool:
        return self.worker.pid in serving_workers(self._host, self._port)

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._on_step(name, time.monotonic() - began)

    def _wait_for(self, part: Part, condition: Callable[[], bool], seconds: float) -> None:
        done = wait_until(lambda: condition() or not part.alive, seconds, self.stopping)
        if not part.alive:
            raise ServerFailed(part.name, "ended while it started", last_lines(part.log))
        if not done:
            raise ServerFailed(
                part.name, f"was not up within {seconds:.0f} s", last_lines(part.log)
            )
