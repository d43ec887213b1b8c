"""Many jobs in one answer: each row with its job, one moment, refused whole or sent whole."""

import csv
import io
import json
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine

from foundation.ids import new_id
from services.exports import MOST_JOBS
from tests.versions import on_newest_postgres
from tests.written import WrittenJob, make_rows, write_job

pytestmark = on_newest_postgres

COLUMNS = ["iteration", "epoch", "batch", "samples", "loss", "lr", "grad_norm", "seconds"]
FORMATS = ["ndjson", "csv", "arrow", "parquet"]

Rows = list[dict[str, Any]]


@pytest.fixture
def jobs(engine: Engine) -> list[WrittenJob]:
    """Three jobs: of 20,000 rows, of none, and of five."""
    made = [write_job(engine) for _ in range(3)]
    made[0].write_many(20_000)
    made[2].write_rows(make_rows([0.5, 0.25, 0.125, float("nan"), float("-inf")]))
    return made


def ids(jobs: list[WrittenJob]) -> list[str]:
    return [str(job.id) for job in jobs]


def export(api: httpx.Client, jobs: list[str], **parameters: str | int) -> httpx.Response:
    return api.get("/v1/export", params={"job": jobs, **parameters})


def rows_of(answer: httpx.Response, form: str) -> Rows:
    assert answer.status_code == httpx.codes.OK, answer.text
    rows: Rows
    if form == "ndjson":
        rows = [json.loads(line) for line in answer.text.splitlines()]
    elif form == "csv":
        rows = [
            row | {"iteration": int(row["iteration"])}
            for row in csv.DictReader(io.StringIO(answer.text))
        ]
    elif form == "arrow":
        rows = pa.ipc.open_stream(answer.content).read_all().to_pylist()
    else:
        rows = pq.read_table(io.BytesIO(answer.content)).to_pylist()
    return rows


@pytest.mark.parametrize("form", FORMATS)
def test_job_comes_after_job_as_they_are_named(
    api: httpx.Client, jobs: list[WrittenJob], form: str
) -> None:
    last, empty, first = (str(job.id) for job in jobs)
    rows = rows_of(export(api, [first, empty, last], format=form), form)
    assert list(rows[0]) == ["job", *COLUMNS]
    assert [(row["job"], row["iteration"]) for row in rows] == (
        [(first, i) for i in range(1, 6)] + [(last, i) for i in range(1, 20_001)]
    )
    assert [str(float(row["loss"])) for row in rows[:5]] == ["0.5", "0.25", "0.125", "nan", "-inf"]
    one = api.get(f"{jobs[0].path}/iterations", params={"format": "csv"})
    asked = list(csv.DictReader(io.StringIO(one.text)))
    assert [float(row["loss"]) for row in rows[5:]] == [float(row["loss"]) for row in asked]


@pytest.mark.parametrize("form", FORMATS)
def test_jobs_without_rows_are_a_table_without_rows(
    api: httpx.Client, jobs: list[WrittenJob], form: str
) -> None:
    answer = export(api, [str(jobs[1].id)], format=form)
    assert rows_of(answer, form) == []
    if form == "csv":
        assert answer.text == ",".join(["job", *COLUMNS]) + "\n"
    if form == "parquet":
        assert pq.read_schema(io.BytesIO(answer.content)).names == ["job", *COLUMNS]


def test_fields_and_a_range_are_of_every_job(api: httpx.Client, jobs: list[WrittenJob]) -> None:
    answer = export(api, ids(jobs), fields="lr", **{"from": 4, "to": 6})
    rows = rows_of(answer, "ndjson")
    assert list(rows[0]) == ["job", "iteration", "lr"]
    assert [row["iteration"] for row in rows] == [4, 5, 6, 4, 5]


def test_without_a_format_it_is_a_row_a_line(api: httpx.Client, jobs: list[WrittenJob]) -> None:
    for accept in ("*/*", "application/json", "text/html", "application/x-ndjson"):
        answer = api.get("/v1/export", params={"job": ids(jobs)}, headers={"Accept": accept})
        assert answer.headers["content-type"] == "application/x-ndjson"
    answer = api.get("/v1/export", params={"job": ids(jobs)}, headers={"Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")


def test_a_job_that_is_named_twice_comes_once(api: httpx.Client, jobs: list[WrittenJob]) -> None:
    named = [str(jobs[2].id), str(jobs[1].id), str(jobs[2].id).upper()]
    assert len(rows_of(export(api, named), "ndjson")) == 5


def test_an_export_shows_one_moment(api: httpx.Client, engine: Engine) -> None:
    jobs = [write_job(engine), write_job(engine)]
    for job in jobs:
        job.write_many(200_000)
    asked = {"job": ids(jobs), "format": "csv", "fields": "loss"}
    with api.stream("GET", "/v1/export", params=asked) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "job,iteration,loss"
        jobs[1].rewind(10)
        assert sum(1 for _ in lines) == 400_000


@pytest.mark.parametrize("form", FORMATS)
def test_a_job_that_is_not_there_is_named_before_anything_is_sent(
    api: httpx.Client, jobs: list[WrittenJob], form: str
) -> None:
    missing = str(new_id())
    answer = export(api, [*ids(jobs), missing], format=form)
    assert answer.status_code == httpx.codes.NOT_FOUND
    assert answer.json()["type"] == "/problems/job-missing"
    assert missing in answer.json()["detail"]


def test_as_many_jobs_as_may_be_are_exported_and_no_more(api: httpx.Client, engine: Engine) -> None:
    jobs = [write_job(engine) for _ in range(MOST_JOBS)]
    for job in jobs[::50]:
        job.write_rows(make_rows([1.0, 2.0]))
    assert len(rows_of(export(api, ids(jobs)), "ndjson")) == 8
    more = export(api, [*ids(jobs), str(new_id())])
    assert more.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert more.json()["errors"][0]["loc"] == ["query", "job"]


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("", "job"),
        ("job=seven", "job"),
        ("job=", "job"),
        ("job={id}&format=json", "format"),
        ("job={id}&format=xlsx", "format"),
        ("job={id}&fields=los", "fields"),
        ("job={id}&fields=job", "fields"),
        ("job={id}&from=0", "from"),
        ("job={id}&from=5&to=4", "from"),
        ("job={id}&to=9223372036854775808", "to"),
        ("job={id}&limit=5", "limit"),
        ("jobs={id}", "jobs"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    api: httpx.Client, jobs: list[WrittenJob], query: str, place: str
) -> None:
    answer = api.get(f"/v1/export?{query.format(id=jobs[0].id)}")
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert place in [error["loc"][1] for error in answer.json()["errors"]]
