"""Readings of layers and values of metrics leave the tables with their job's rows."""

import json
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, text

from foundation import faults
from foundation.faults import ArchiveMoment
from foundation.settings import Settings
from models.tables import iterations, layer_readings, metric_values
from services.archived_tables import ARCHIVED
from services.archiving import book_archive, find_wishes, remove_rows
from services.database import transaction
from tests.archived import (
    archiver,
    booked_files,
    close,
    files_of,
    rows_of,
    write_layered_run,
    write_readings,
    write_run,
    write_values,
)
from tests.submitted import events_of, get
from tests.written import WrittenJob
from worker.filing import make_files
from worker.portions import PORTION_ROWS


@pytest.fixture
def job(engine: Engine) -> WrittenJob:
    """A short job with many readings: twelve layers at each of its iterations."""
    job = write_layered_run(engine, 900)
    write_readings(job, 1, 900, 12)
    write_values(job, 900)
    return close(job)


def wish(api: httpx.Client, job: WrittenJob) -> None:
    assert api.post(f"{job.path}/archive").status_code == httpx.codes.ACCEPTED


def left(job: WrittenJob) -> list[int]:
    """How many rows of it are in each table."""
    return [rows_of(job, each.table) for each in ARCHIVED]


def test_each_table_has_a_file_that_the_book_names(
    api: httpx.Client, engine: Engine, settings: Settings, job: WrittenJob
) -> None:
    with transaction(engine) as connection:
        readings = text("SELECT position, error_norm FROM layer_readings ORDER BY iteration, 1")
        positions, errors = zip(*connection.execute(readings), strict=True)
        told = text("SELECT iteration, ordinal FROM metric_values ORDER BY metric, 1")
        values = connection.execute(told).all()
    wish(api, job)
    archiver(engine, settings).look()
    assert left(job) == [0, 0, 0]
    files = booked_files(job)
    assert set(files_of(job, settings)) == set(files.values())
    shown = api.get(f"{job.path}/artifacts").json()["items"]
    names = ["iterations.parquet", "layers.parquet", "metrics.parquet"]
    assert [each["name"] for each in shown if each["kind"] == "archive"] == names
    layers = pq.read_table(files["layers.parquet"])
    assert layers["position"].to_pylist() == list(positions)
    assert layers["error_norm"].to_pylist() == list(errors)
    metrics = pq.read_table(files["metrics.parquet"], columns=["iteration", "ordinal"])
    names = json.loads(pq.read_schema(files["metrics.parquet"]).metadata[b"gradbook.metrics"])
    assert names == {"1": "a/each", "2": "b", "3": "once"}
    assert [tuple(row.values()) for row in metrics.to_pylist()] == list(map(tuple, values))
    assert get(api, str(job.id))["metrics"]["b"]["count"] == 300


def test_a_job_without_readings_has_no_files_of_them(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    job = close(write_run(engine, 100))
    before = api.get(f"{job.path}/layers").content
    wish(api, job)
    archiver(engine, settings).look()
    assert list(booked_files(job)) == ["iterations.parquet"]
    assert api.get(f"{job.path}/layers").content == before


def test_of_each_table_only_so_many_rows_go_at_a_time(
    api: httpx.Client, engine: Engine, settings: Settings, job: WrittenJob
) -> None:
    wish(api, job)
    with transaction(engine) as connection:
        (wanted,) = find_wishes(connection)
    files = make_files(engine, settings.artifacts_url, wanted, lambda: False)
    with transaction(engine) as connection:
        assert book_archive(connection, wanted, files)
    before, more, batches = left(job), True, 0
    assert before == [900, 10_800, 1_201]
    while more:
        with transaction(engine) as connection:
            more = remove_rows(connection, 100)
        after, batches = left(job), batches + more
        assert all(was - now <= 100 for was, now in zip(before, after, strict=True))
        before = after
    assert before == [0, 0, 0]
    # Eight iterations have 96 readings: none is come back to.
    assert batches == -(-900 // 8)


def test_a_metric_that_lacks_values_is_not_archived(
    api: httpx.Client, engine: Engine, settings: Settings, job: WrittenJob
) -> None:
    with transaction(engine) as connection:
        connection.execute(text("DELETE FROM metric_values WHERE metric = 2 AND iteration = 300"))
    wish(api, job)
    archiver(engine, settings).look()
    assert left(job) == [900, 10_800, 1_200]
    assert list(files_of(job, settings)) == []
    (event,) = events_of(api, str(job.id))
    assert event["data"]["reason"] == "metric b has 299 values, 300 are booked"


def test_more_layers_than_a_portion_has_are_not_cut(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    layers = PORTION_ROWS + 1
    job = write_layered_run(engine, 3, layers)
    write_readings(job, 1, 2, layers)
    write_readings(job, 3, 3, PORTION_ROWS)
    close(job)
    before = api.get(f"{job.path}/layers", params={"limit": 100_000}).content
    wish(api, job)
    archiver(engine, settings).look()
    assert left(job) == [0, 0, 0]
    assert api.get(f"{job.path}/layers", params={"limit": 100_000}).content == before


@pytest.mark.parametrize("table", [iterations, layer_readings, metric_values])
def test_a_store_that_does_not_keep_what_it_was_given_costs_no_rows(
    api: httpx.Client,
    engine: Engine,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    table: object,
) -> None:
    job = write_layered_run(engine, 130_000, 1)
    write_readings(job, 1, 130_000, 1)
    write_values(job, 130_000)
    close(job)
    before = left(job)
    spoilt: list[Path] = []
    name = next(each.file_name for each in ARCHIVED if each.table is table)

    def spoil(moment: str) -> None:
        """Change a byte of a file that is being written, once there are many on the disk."""
        if moment == ArchiveMoment.PART_WRITTEN and not spoilt:
            for file in files_of(job, settings):
                if file.name.startswith(f".{Path(name).stem}-") and file.stat().st_size > 10_000:
                    with file.open("r+b") as content:
                        content.seek(5_000)
                        byte = content.read(1)[0]
                        content.seek(5_000)
                        content.write(bytes([byte ^ 1]))
                    spoilt.append(file)

    monkeypatch.setattr(faults, "_hooks", [spoil])
    wish(api, job)
    archiver(engine, settings).look()
    assert spoilt
    assert left(job) == before
    assert list(files_of(job, settings)) == []
    assert get(api, str(job.id))["book"]["archived_at"] is None
    archiver(engine, settings).look()
    assert left(job) == [0, 0, 0]
