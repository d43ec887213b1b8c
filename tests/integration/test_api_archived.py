"""Reading an archived job: the same bytes as before, or a problem that says what is wrong."""

import json
import math
import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, text, update

from cli.client import Client
from cli.verification import verify_book
from foundation.settings import ArtifactsSettings, Settings
from models.tables import artifacts, layer_readings, metric_values
from services.archiving import book_archive, find_wishes
from services.database import transaction
from tests.archived import (
    archiver,
    booked_file,
    booked_files,
    close,
    rows_of,
    write_layered_run,
    write_readings,
    write_run,
    write_values,
)
from tests.processes import free_port
from tests.serving import serving
from tests.versions import on_newest_postgres
from tests.written import WrittenJob, make_rows
from worker.filing import make_files

pytestmark = on_newest_postgres

FILES = ("iterations.parquet", "layers.parquet", "metrics.parquet")
FORMATS = ("json", "ndjson", "csv", "arrow", "parquet")
ROWS = 230_123
"""Three row groups, and pieces of streams that lie across their borders."""


def archive(api: httpx.Client, engine: Engine, settings: Settings, job: WrittenJob) -> None:
    assert api.post(f"{job.path}/archive").status_code == httpx.codes.ACCEPTED
    archiver(engine, settings).look()
    assert rows_of(job) == 0


def answers(api: httpx.Client, calls: list[tuple[str, dict[str, Any]]]) -> list[bytes]:
    found = []
    for path, parameters in calls:
        answer = api.get(path, params=parameters)
        assert answer.status_code == httpx.codes.OK, answer.text
        found.append(answer.content)
    return found


def test_every_format_page_and_curve_is_the_same_bytes_as_before(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    job = close(write_run(engine, ROWS))
    rows, curve = f"{job.path}/iterations", f"{job.path}/curve"
    calls: list[tuple[str, dict[str, Any]]] = [
        *((rows, {"format": form}) for form in FORMATS),
        *((rows, {"format": form, "fields": "loss", "limit": 777}) for form in FORMATS),
        (rows, {"from": 103_990, "to": 104_010}),
        (rows, {"from": ROWS - 3}),
        (rows, {"from": ROWS + 1}),
        (rows, {"epoch": 1_041, "fields": "grad_norm"}),
        (rows, {"epoch": 1_041, "from": 104_055, "format": "csv"}),
        (rows, {"epoch": 9_999_999}),
        ("/v1/export", {"job": str(job.id), "format": "ndjson", "from": 104_000, "to": 113_000}),
        *((curve, {"series": name}) for name in ("loss", "lr", "grad_norm", "seconds")),
        (curve, {"points": 10_000, "from": 100_001, "to": 110_000}),
        (curve, {"points": 300, "from": 17, "to": 208_009, "series": "loss"}),
        ("/v1/curves", {"job": str(job.id), "points": 2}),
    ]
    before = answers(api, calls)
    archive(api, engine, settings, job)
    assert answers(api, calls) == before


def calls_of_layers(job: WrittenJob) -> list[tuple[str, dict[str, Any]]]:
    page, curve = f"{job.path}/layers", f"{job.path}/curve"
    return [
        (page, {}),
        (page, {"limit": 100_000}),
        (page, {"limit": 7}),
        *(
            (curve, {"series": f"layers.conv{number}.{norm}", "points": points, **asked})
            for number in (1, 12)
            for norm in ("error_norm", "error_share", "grad_norm", "weight_norm")
            for points, asked in ((10, {}), (10_000, {}), (50, {"from": 333, "to": 20_001}))
        ),
        ("/v1/curves", {"job": str(job.id), "series": "layers.conv2.weight_norm"}),
    ]


def calls_of_metrics(job: WrittenJob) -> list[tuple[str, dict[str, Any]]]:
    values, curve = f"{job.path}/metrics/values", f"{job.path}/curve"
    return [
        (f"{job.path}/metrics", {}),
        *((values, {"format": form}) for form in FORMATS[1:]),
        *((values, {"format": form, "name": "b", "limit": 777}) for form in FORMATS),
        (values, {"name": "a/each", "from": 99_990, "to": 100_010}),
        (values, {"name": "b", "from": 20_000, "limit": 1}),
        (values, {"name": "once"}),
        (values, {"name": "once", "from": 2}),
        (values, {"name": "a/each", "from": 500, "to": 110_000, "format": "csv"}),
        *(
            (curve, {"series": f"metrics.{name}", "points": points, **asked})
            for name in ("a/each", "b", "once", "never")
            for points in (2, 1_000, 10_000)
            for asked in ({}, {"from": 17}, {"from": 6_001, "to": 104_321}, {"from": 120_000})
        ),
        ("/v1/curves", {"job": str(job.id), "series": "metrics.b", "points": 100}),
    ]


def test_what_layers_got_of_the_error_is_the_same_bytes_as_before(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    job = write_layered_run(engine, 25_000)
    write_readings(job, 1, 25_000, 12)
    close(job)
    calls = calls_of_layers(job)
    before = answers(api, calls)
    archive(api, engine, settings, job)
    assert rows_of(job, layer_readings) == 0
    assert answers(api, calls) == before
    cursor = json.loads(before[2])["next_cursor"]
    page = api.get(f"{job.path}/layers", params={"limit": 7, "cursor": cursor}).json()
    assert page["columns"]["iteration"] == [1] * 5 + [2] * 2
    assert page["columns"]["layer"][4:6] == ["conv12", "conv1"]
    file = pq.ParquetFile(booked_files(job)["layers.parquet"])
    assert (file.metadata.num_rows, file.metadata.num_row_groups > 1) == (300_000, True)


def test_values_of_metrics_are_the_same_bytes_as_before(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    job = write_run(engine, 125_000)
    write_values(job, 125_000)
    close(job)
    calls = calls_of_metrics(job)
    before = answers(api, calls)
    archive(api, engine, settings, job)
    assert rows_of(job, metric_values) == 0
    assert answers(api, calls) == before
    cursor = api.get(f"{job.path}/metrics/values", params={"name": "b", "limit": 3}).json()
    asked = {"name": "b", "limit": 2, "cursor": cursor["next_cursor"]}
    page = api.get(f"{job.path}/metrics/values", params=asked).json()
    assert page["columns"]["iteration"] == [12, 15]
    file = pq.ParquetFile(booked_files(job)["metrics.parquet"])
    assert file.metadata.num_row_groups > 1


def test_readings_of_a_job_whose_rows_alone_were_archived_stay_and_are_read(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    job = write_layered_run(engine, 3_000)
    write_readings(job, 1, 3_000, 12)
    write_values(job, 3_000)
    close(job)
    calls = calls_of_layers(job) + calls_of_metrics(job)
    before = answers(api, calls)
    api.post(f"{job.path}/archive")
    with transaction(engine) as connection:
        (wish,) = find_wishes(connection)
    files = make_files(engine, settings.artifacts_url, wish, lambda: False)
    assert [file["name"] for file in files] == list(FILES)
    with transaction(engine) as connection:
        assert book_archive(connection, wish, files[:1])
    archiver(engine, settings).look()
    assert rows_of(job) == 0
    assert list(booked_files(job)) == ["iterations.parquet"]
    assert rows_of(job, layer_readings) == 36_000
    assert rows_of(job, metric_values) == 4_001
    assert answers(api, calls) == before


def test_an_archived_book_is_verified(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    job = close(write_run(engine, 5_000))
    archive(api, engine, settings, job)
    with Client(str(api.base_url)) as client:
        checks = list(verify_book(client, client.job(str(job.id))))
    assert [check.text for check in checks if not check.right] == []
    assert checks[0].text == "rows: 1 to 5,000, each once"


def test_a_cursor_from_before_goes_on_after(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    job = close(write_run(engine, 2_500))
    path = f"{job.path}/iterations"
    first = api.get(path, params={"limit": 1_000}).json()
    archive(api, engine, settings, job)
    seen = first["columns"]["iteration"]
    cursor = first["next_cursor"]
    while cursor is not None:
        page = api.get(path, params={"limit": 1_000, "cursor": cursor}).json()
        assert page["total"] == 2_500
        seen += page["columns"]["iteration"]
        cursor = page["next_cursor"]
    assert seen == list(range(1, 2_501))


def test_what_is_not_finite_keeps_its_bits(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    job = write_run(engine)
    job.write_rows(make_rows([math.nan, math.inf, -math.inf, -0.0, 5e-324, *np.ones(30)]))
    close(job)
    calls: list[tuple[str, dict[str, Any]]] = [
        (f"{job.path}/iterations", {"format": form}) for form in FORMATS
    ]
    calls.append((f"{job.path}/curve", {}))
    before = answers(api, calls)
    archive(api, engine, settings, job)
    assert answers(api, calls) == before


def test_an_answer_that_has_begun_ends_as_it_began(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    job = close(write_run(engine, ROWS))
    before = api.get(f"{job.path}/iterations", params={"format": "csv"}).content
    with api.stream("GET", f"{job.path}/iterations", params={"format": "csv"}) as answer:
        pieces = answer.iter_bytes()
        begun = next(pieces)
        archive(api, engine, settings, job)
        assert begun + b"".join(pieces) == before


def test_who_begins_to_watch_an_archived_job_is_told_its_points(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    for count in (300, 3_000):
        job = close(write_run(engine, count))
        before = _frames(api, job)
        assert any(b"points" in frame for frame in before)
        archive(api, engine, settings, job)
        after = _frames(api, job)
        assert [each for each in after if b"archived_at" not in each] == before


def _frames(api: httpx.Client, job: WrittenJob) -> list[bytes]:
    """A stream that has ended, without the times at which it was told."""
    answer = api.get(f"{job.path}/events", headers={"accept": "text/event-stream"})
    told = re.sub(rb'"at":"[^"]+"', b"", answer.content)
    return [
        b"\n".join(line for line in frame.split(b"\n") if not line.startswith(b"id:"))
        for frame in told.split(b"\n\n")
    ]


def _problem(api: httpx.Client, job: WrittenJob, page: str = "iterations") -> dict[str, Any]:
    answer = api.get(f"{job.path}/{page}")
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem: dict[str, Any] = answer.json()
    return problem


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1_000])


def _flip(file: Path, share: float = 0.33) -> None:
    content = bytearray(file.read_bytes())
    content[int(len(content) * share)] ^= 1
    file.write_bytes(content)


def _flip_late(file: Path) -> None:
    """Where the values are that every page has."""
    _flip(file, 0.67)


def _empty(file: Path) -> None:
    file.write_bytes(b"\0" * file.stat().st_size)


@pytest.mark.parametrize("harm", [Path.unlink, _cut, _flip_late, _empty])
def test_files_of_readings_that_are_not_good_are_named(
    api: httpx.Client,
    engine: Engine,
    settings: Settings,
    harm: Any,  # noqa: ANN401 - any harm
) -> None:
    job = write_layered_run(engine, 500)
    write_readings(job, 1, 500, 12)
    write_values(job, 500)
    archive(api, engine, settings, close(job))
    files = booked_files(job)
    harm(files["layers.parquet"])
    harm(files["metrics.parquet"])
    for page in ("layers", "metrics/values?name=b"):
        problem = _problem(api, job, page)
        assert (problem["type"], problem["status"]) == ("/problems/archive-spoilt", 500), page
    for page in ("iterations", "metrics", "curve"):
        assert api.get(f"{job.path}/{page}").status_code == httpx.codes.OK


@pytest.mark.parametrize("harm", [Path.unlink, _cut, _flip, _empty])
def test_a_file_that_is_not_good_is_named(
    api: httpx.Client,
    engine: Engine,
    settings: Settings,
    harm: Any,  # noqa: ANN401 - any harm
) -> None:
    job = close(write_run(engine, 5_000))
    archive(api, engine, settings, job)
    harm(booked_file(job))
    problem = _problem(api, job)
    assert (problem["type"], problem["status"]) == ("/problems/archive-spoilt", 500)
    assert str(job.id) in problem["detail"]
    assert api.get(job.path).status_code == httpx.codes.OK
    assert api.get(f"{job.path}/epochs").status_code == httpx.codes.OK


def test_another_jobs_file_is_not_taken_for_this_ones(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    ours, other = (close(write_run(engine, 500)) for _ in range(2))
    for each in (ours, other):
        archive(api, engine, settings, each)
    booked_file(ours).write_bytes(booked_file(other).read_bytes())
    problem = _problem(api, ours)
    assert problem["type"] == "/problems/archive-spoilt"


def test_a_file_outside_the_store_is_not_read(
    api: httpx.Client, engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    job = close(write_run(engine, 500))
    archive(api, engine, settings, job)
    outside = tmp_path / "outside.parquet"
    outside.write_bytes(booked_file(job).read_bytes())
    with transaction(engine) as connection:
        connection.execute(update(artifacts).values(uri=str(outside)))
    assert "does not lie in the store" in _problem(api, job)["detail"]


@on_newest_postgres
def test_a_store_that_does_not_answer_is_told_from_a_file_that_is_not_good(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    job = close(write_run(engine, 500))
    archive(api, engine, settings, job)
    nobody = f"ftp://127.0.0.1:{free_port()}/store"
    with transaction(engine) as connection:
        connection.execute(update(artifacts).values(uri=f"{nobody}/archive.parquet"))
    away = settings.model_copy(update={"artifacts": ArtifactsSettings(url=nobody)})
    with serving(away) as other:
        problem = _problem(other, job)
        assert (problem["type"], problem["status"]) == ("/problems/archive-away", 503)
        assert _problem(other, job, "curve")["type"] == "/problems/archive-away"


def test_the_sql_view_shows_no_rows_of_an_archived_job(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    archived, kept = close(write_run(engine, 100)), close(write_run(engine, 50))
    archive(api, engine, settings, archived)
    with transaction(engine) as connection:
        rows = connection.execute(text("SELECT DISTINCT job FROM v_iterations")).scalars().all()
        known = connection.execute(
            text("SELECT job, archived_at IS NULL FROM v_jobs ORDER BY rows")
        ).all()
    assert rows == [kept.id]
    assert known == [(kept.id, True), (archived.id, False)]
