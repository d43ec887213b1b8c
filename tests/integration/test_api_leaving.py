"""An API process that is told to leave: it answers what it has begun, and is gone in 10 s."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, func, select, text

from foundation.settings import BrokerSettings, Settings
from models.tables import jobs
from services.database import transaction
from tests.processes import api_to_signal
from tests.submitted import spec_of, submit
from tests.versions import on_newest_postgres
from tests.waiting import wait_until
from tests.written import write_job

pytestmark = on_newest_postgres

GONE_SECONDS = 10.0
# Less than what is cut off takes.
SOON_SECONDS = 5.0
LONG_POLL = {"wait_seconds": 60}
ROWS = 300_000
PLAIN = {"Accept-Encoding": "identity"}

Process = subprocess.Popen[bytes]
Tell = Callable[[Process], None]

WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = 'gradbook api' AND wait_event_type = 'Lock' AND query LIKE :query"
)


def once(process: Process) -> None:
    process.send_signal(signal.SIGTERM)


def twice(process: Process) -> None:
    once(process)
    once(process)


def everybody_twice(process: Process) -> None:
    """As a terminal does, and then a supervisor: the signal goes to the whole session."""
    for _ in range(2):
        os.killpg(process.pid, signal.SIGTERM)


def gone_after(process: Process) -> float:
    """Wait for the process's end; how long that took."""
    begun = time.monotonic()
    process.wait(2 * GONE_SECONDS)
    return time.monotonic() - begun


def waits(engine: Engine, query: str) -> bool:
    """Whether a statement of the API's waits for a lock."""
    with transaction(engine) as connection:
        return bool(connection.execute(WAITING, {"query": query}).scalar_one())


@contextlib.contextmanager
def locked(engine: Engine, table: str) -> Iterator[None]:
    """Hold a table so that nobody else can even read it."""
    with engine.connect() as connection:
        connection.execute(text(f"LOCK TABLE {table}"))
        yield
        connection.rollback()


def looks(engine: Engine) -> bool:
    """Whether the API looks out for a change: its look is made to wait for a moment."""
    with locked(engine, "progress"), contextlib.suppress(AssertionError):
        look = "SELECT jobs.id, jobs.state, progress.epoch%FROM jobs JOIN progress%"
        return wait_until(lambda: waits(engine, look), 0.5, "a look waits")
    return False


def deaf(api: httpx.Client) -> bool:
    """Whether no process of the API takes a new connection any more."""
    try:
        httpx.get(api.base_url.join("/healthz"), timeout=0.5)
    except httpx.TransportError:
        return True
    return False


def count_jobs(engine: Engine) -> int:
    with transaction(engine) as connection:
        return connection.execute(select(func.count()).select_from(jobs)).scalar_one()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "api.log"


WAYS = pytest.mark.parametrize(
    ("workers", "tell"),
    [("1", once), ("1", twice), ("2", once), ("2", everybody_twice)],
    ids=["one", "one-twice", "two", "two-twice"],
)


@WAYS
def test_a_long_poll_is_answered_at_once_with_the_job_as_it_is(
    settings: Settings, engine: Engine, log: Path, workers: str, tell: Tell
) -> None:
    with (
        api_to_signal(settings, log, "--workers", workers) as (process, api),
        ThreadPoolExecutor(1) as client,
    ):
        job = submit(api)
        poll = client.submit(api.get, f"/v1/jobs/{job['id']}", params=LONG_POLL, timeout=90)
        wait_until(lambda: looks(engine), 30, "the poll waits")
        tell(process)
        seconds = gone_after(process)
        answer = poll.result()
    assert (answer.status_code, answer.json()["id"]) == (httpx.codes.OK, job["id"])
    assert answer.headers["connection"] == "close"
    assert seconds < SOON_SECONDS
    assert process.returncode == 0
    assert "Traceback" not in log.read_text()


@WAYS
def test_a_post_that_is_held_up_is_finished_and_answered(
    settings: Settings, engine: Engine, log: Path, workers: str, tell: Tell
) -> None:
    with (
        api_to_signal(settings, log, "--workers", workers) as (process, api),
        ThreadPoolExecutor(1) as client,
    ):
        with locked(engine, "jobs"):
            post = client.submit(api.post, "/v1/jobs", json=spec_of())
            wait_until(lambda: waits(engine, "%jobs%"), 10, "the POST waits")
            tell(process)
            wait_until(lambda: deaf(api), 5, "no new connection is taken")
            assert not post.done()
        answer = post.result()
        assert gone_after(process) < SOON_SECONDS
    assert answer.status_code == httpx.codes.CREATED
    assert count_jobs(engine) == 1
    assert process.returncode == 0
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_never_comes_to_its_end_is_cut_off_and_leaves_nothing(
    settings: Settings, engine: Engine, log: Path, workers: str
) -> None:
    with (
        api_to_signal(settings, log, "--workers", workers) as (process, api),
        ThreadPoolExecutor(1) as client,
        locked(engine, "jobs"),
    ):
        post = client.submit(api.post, "/v1/jobs", json=spec_of())
        wait_until(lambda: waits(engine, "%jobs%"), 10, "the POST waits")
        twice(process)
        assert gone_after(process) < GONE_SECONDS
        # Whatever it is told, it is not told that there is a job.
        with contextlib.suppress(httpx.TransportError):
            assert post.result().status_code == httpx.codes.INTERNAL_SERVER_ERROR
    wait_until(lambda: not waits(engine, "%"), 10, "the server lets go of it")
    assert count_jobs(engine) == 0


def test_a_stream_that_is_read_on_ends_whole(settings: Settings, engine: Engine, log: Path) -> None:
    job = write_job(engine)
    job.write_many(ROWS)
    with api_to_signal(settings, log) as (process, api):
        path = f"{job.path}/iterations?format=ndjson"
        with api.stream("GET", path, headers=PLAIN) as answer:
            chunks = answer.iter_raw()
            lines = next(chunks).count(b"\n")
            once(process)
            wait_until(lambda: deaf(api), 5, "no new connection is taken")
            lines += sum(chunk.count(b"\n") for chunk in chunks)
        assert gone_after(process) < SOON_SECONDS
    assert lines == ROWS
    assert process.returncode == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stream_that_is_not_read_on_breaks_visibly(
    settings: Settings, engine: Engine, log: Path, workers: str
) -> None:
    job = write_job(engine)
    job.write_many(ROWS)
    with api_to_signal(settings, log, "--workers", workers) as (process, api):
        path = f"{job.path}/iterations?format=ndjson"
        with api.stream("GET", path, headers=PLAIN) as answer:
            chunks = answer.iter_raw()
            read = [next(chunks)]
            twice(process)
            assert gone_after(process) < GONE_SECONDS
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
                read.extend(chunks)
    assert process.returncode == 0
    assert "Traceback" not in log.read_text()
    assert 0 < b"".join(read).count(b"\n") < ROWS


def test_a_broker_that_hangs_holds_up_no_end(settings: Settings, log: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        broker = BrokerSettings(url=SecretStr(f"redis://127.0.0.1:{silent.getsockname()[1]}/0"))
        hanging = settings.model_copy(update={"broker": broker})
        with api_to_signal(hanging, log) as (process, api):
            submit(api)
            once(process)
            assert gone_after(process) < SOON_SECONDS
    assert process.returncode == 0


def test_a_process_that_has_nothing_to_do_goes_at_once(settings: Settings, log: Path) -> None:
    with api_to_signal(settings, log) as (process, _):
        once(process)
        assert gone_after(process) < SOON_SECONDS
    assert process.returncode == 0
    assert log.read_text() == ""
