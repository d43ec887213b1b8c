"""The service's own processes, started as a deployment starts them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
from sqlalchemy import func, select

from foundation.settings import Settings
from models.tables import workers
from services.database import make_engine, transaction
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent
START_SECONDS = 60
STOP_SECONDS = 30


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment_of(settings: Settings, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment that gives a child process these settings."""
    clean = {name: value for name, value in os.environ.items() if "GRADBOOK" not in name}
    if settings.database.url:
        clean["GRADBOOK_DATABASE_URL"] = settings.database.url.get_secret_value()
    if settings.broker.url:
        clean["GRADBOOK_BROKER_URL"] = settings.broker.url.get_secret_value()
    return clean | {"GRADBOOK_HOME": str(settings.home)} | dict(extra or {})


@contextlib.contextmanager
def python(
    settings: Settings, *arguments: str, log: Path, extra: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python <arguments>` in a session of its own, and end it by SIGTERM."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment_of(settings, extra),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end(process)


def role(
    settings: Settings, *arguments: str, log: Path, extra: Mapping[str, str] | None = None
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """Run `gradbook <arguments>` in the same way."""
    return python(settings, "-m", "cli.main", *arguments, log=log, extra=extra)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process, and its session where it does not go by itself."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        # One that a test has stopped must be able to hear it.
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise


@contextlib.contextmanager
def api_process(
    settings: Settings, log: Path, extra: Mapping[str, str] | None = None
) -> Iterator[httpx.Client]:
    """Run a real API process; yields a client that is bound to it."""
    with api_to_signal(settings, log, extra=extra) as (_, client):
        yield client


@contextlib.contextmanager
def api_to_signal(
    settings: Settings, log: Path, *options: str, extra: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """Run `gradbook api <options>`; yields its process and a client that is bound to it."""
    port = free_port()
    with (
        role(settings, "api", "--port", str(port), *options, log=log, extra=extra) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return client.get("/healthz").status_code == httpx.codes.OK
            except httpx.TransportError:
                return False

        wait_until(answers, START_SECONDS, f"the API answers: see {log}")
        yield process, client


@contextlib.contextmanager
def worker_process(
    settings: Settings, log: Path, *, slots: int = 1, extra: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a real Celery worker; yields it once the fleet's table names it."""
    with role(settings, "worker", "--slots", str(slots), log=log, extra=extra) as process:
        engine = make_engine(settings.database, application_name="tests")

        def registered() -> bool:
            assert process.poll() is None, log.read_text()
            with transaction(engine) as connection:
                mine = select(func.count()).where(workers.c.pid == process.pid)
                return connection.scalar(mine) == 1

        wait_until(registered, START_SECONDS, f"the worker registers: see {log}")
        engine.dispose()
        yield process
