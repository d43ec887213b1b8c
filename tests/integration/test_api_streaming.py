"""Whole runs over HTTP: flat memory, one moment, and connections that are given back."""

import hashlib
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from sqlalchemy import Engine, text

from foundation.settings import Settings
from services.database import transaction
from tests.processes import api_process
from tests.versions import on_newest_postgres
from tests.waiting import wait_until
from tests.written import WrittenJob, make_rows, write_job

pytestmark = on_newest_postgres

ROWS = 1_000_000
MEBIBYTE = 2**20
# The text of a million rows is 50 to 125 MiB; so much may come on top of a short run's memory.
GROWTH_BYTES = 40 * MEBIBYTE
STREAMS = "gradbook api streams"


@pytest.fixture
def job(engine: Engine) -> WrittenJob:
    return write_job(engine)


def open_streams(engine: Engine) -> int:
    """Count the connections on which a stream's transaction is open."""
    count = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = :name AND xact_start IS NOT NULL"
    )
    with transaction(engine) as connection:
        found: int = connection.execute(count, {"name": STREAMS}).scalar_one()
        return found


def drain(client: httpx.Client, path: str, process: psutil.Process) -> tuple[int, int]:
    """Read a stream to its end: its lines, and the most memory that the process had."""
    lines, most = 0, 0
    with client.stream("GET", path) as answer:
        for chunk in answer.iter_raw():
            lines += chunk.count(b"\n")
            most = max(most, process.memory_info().rss)
    return lines, most


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_a_million_rows_stream_through_flat_memory(
    settings: Settings, engine: Engine, tmp_path: Path, form: str
) -> None:
    short, long = write_job(engine), write_job(engine)
    short.write_many(100_000)
    long.write_many(ROWS)
    head = 1 if form == "csv" else 0
    with api_process(settings, tmp_path / "api.log") as client:
        process = next(
            each
            for each in psutil.Process().children(recursive=True)
            if str(client.base_url.port) in each.cmdline()
        )
        _, usual = drain(client, f"{short.path}/iterations?format={form}", process)
        lines, most = drain(client, f"{long.path}/iterations?format={form}", process)
    assert lines == ROWS + head
    assert most - usual < GROWTH_BYTES


def test_a_stream_shows_one_moment(api: httpx.Client, job: WrittenJob) -> None:
    job.write_many(300_000)
    with api.stream("GET", f"{job.path}/iterations?format=csv&fields=loss") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "iteration,loss"
        job.rewind(100)
        assert sum(1 for _ in lines) == 300_000
    assert api.get(f"{job.path}/iterations?format=csv").text.count("\n") == 101


def test_a_client_that_leaves_gives_its_connection_back(
    api: httpx.Client, engine: Engine, job: WrittenJob
) -> None:
    job.write_many(300_000)
    with ExitStack() as clients:
        for _ in range(3):
            stream = api.stream("GET", f"{job.path}/iterations?format=ndjson")
            assert clients.enter_context(stream).status_code == httpx.codes.OK
        assert open_streams(engine) == 3
    wait_until(lambda: open_streams(engine) == 0, 10, "the streams' connections are given back")


def test_streams_leave_connections_for_everybody_else(
    api: httpx.Client, engine: Engine, settings: Settings, job: WrittenJob
) -> None:
    job.write_many(300_000)
    most = settings.database.pool_size
    with ExitStack() as clients:
        for _ in range(most):
            # Kept open and not read: each holds its connection.
            reader = clients.enter_context(httpx.Client(base_url=api.base_url, timeout=30))
            stream = reader.stream("GET", f"{job.path}/iterations?format=ndjson")
            clients.enter_context(stream)
        assert open_streams(engine) == most
        assert api.get(f"{job.path}/iterations?limit=1").status_code == httpx.codes.OK
        late = api.get(f"{job.path}/iterations?format=ndjson")
        assert late.status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert "retry-after" in late.headers
    wait_until(lambda: open_streams(engine) == 0, 10, "the streams' connections are given back")


def test_the_losses_of_a_stream_hash_to_what_was_trained(
    api: httpx.Client, job: WrittenJob
) -> None:
    losses = np.random.default_rng(1).normal(size=60_000) * 1e-3
    job.write_rows(make_rows(losses))
    table = api.get(f"{job.path}/iterations?format=csv&fields=loss").text.splitlines()[1:]
    digest = hashlib.sha256()
    for line in table:
        digest.update(np.float64(line.partition(",")[2]).astype("<f8").tobytes())
    assert digest.hexdigest() == hashlib.sha256(losses.astype("<f8").tobytes()).hexdigest()
