"""Whole runs over HTTP: flat memory, one moment, and connections that are given back."""

import hashlib
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, text

from foundation.settings import ApiSettings, Settings
from services.database import transaction
from tests.processes import api_process
from tests.serving import serving
from tests.versions import on_newest_postgres
from tests.waiting import wait_until
from tests.written import WrittenJob, make_rows, write_job

pytestmark = on_newest_postgres

ROWS = 1_000_000
MEBIBYTE = 2**20
# The text of a million rows is 50 to 125 MiB; so much may come on top of a short run's memory.
GROWTH_BYTES = 40 * MEBIBYTE
STREAMS = "gradbook api streams"
PLAIN = {"Accept-Encoding": "identity"}


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


def drain(client: httpx.Client, path: str, process: psutil.Process, file: Path) -> int:
    """Read a stream to its end into a file; the most memory that the process had."""
    most = 0
    with file.open("wb") as output, client.stream("GET", path, headers=PLAIN) as answer:
        for chunk in answer.iter_raw():
            output.write(chunk)
            most = max(most, process.memory_info().rss)
    return most


def rows_in(file: Path, form: str) -> int:
    if form == "parquet":
        rows: int = pq.read_metadata(file).num_rows
        return rows
    if form == "arrow":
        with pa.ipc.open_stream(file) as batches:
            return sum(batch.num_rows for batch in batches)
    with file.open("rb") as lines:
        return sum(1 for _ in lines) - (form == "csv")


@pytest.mark.parametrize("form", ["ndjson", "csv", "arrow", "parquet"])
def test_a_million_rows_stream_through_flat_memory(
    settings: Settings, engine: Engine, tmp_path: Path, form: str
) -> None:
    short, long = write_job(engine), write_job(engine)
    # Parquet is gathered for a while: enough for the gathering to have its most.
    short.write_many(200_000)
    long.write_many(ROWS)
    file = tmp_path / "rows"
    with api_process(settings, tmp_path / "api.log") as client:
        process = next(
            each
            for each in psutil.Process().children(recursive=True)
            if str(client.base_url.port) in each.cmdline()
        )
        usual = drain(client, f"{short.path}/iterations?format={form}", process, file)
        most = drain(client, f"{long.path}/iterations?format={form}", process, file)
    assert rows_in(file, form) == ROWS
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
            stream = api.stream("GET", f"{job.path}/iterations?format=ndjson", headers=PLAIN)
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
            stream = reader.stream("GET", f"{job.path}/iterations?format=ndjson", headers=PLAIN)
            clients.enter_context(stream)
        assert open_streams(engine) == most
        assert api.get(f"{job.path}/iterations?limit=1").status_code == httpx.codes.OK
        late = api.get(f"{job.path}/iterations?format=ndjson")
        assert late.status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert "retry-after" in late.headers
    wait_until(lambda: open_streams(engine) == 0, 10, "the streams' connections are given back")


def test_a_stream_above_its_time_is_cut_off_and_its_client_sees_it(
    settings: Settings, engine: Engine, job: WrittenJob
) -> None:
    job.write_many(300_000)
    hurried = settings.model_copy(update={"api": ApiSettings(export_seconds=1.0)})
    with serving(hurried) as client:
        whole = client.get(f"{job.path}/iterations?format=arrow&to=10")
        assert whole.status_code == httpx.codes.OK
        with client.stream("GET", f"{job.path}/iterations?format=csv", headers=PLAIN) as answer:
            assert answer.status_code == httpx.codes.OK
            # Its client reads nothing, so it cannot have ended by itself.
            wait_until(lambda: open_streams(engine) == 0, 20, "the stream is given up")
            with pytest.raises(httpx.RemoteProtocolError):
                answer.read()


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
