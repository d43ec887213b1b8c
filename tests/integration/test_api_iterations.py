"""Iterations over HTTP: ranges, columns, cursors, formats, and the same 64 bits."""

import csv
import io
import json
import math
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import Engine

from foundation.ids import new_id
from tests.versions import on_newest_postgres
from tests.written import WrittenJob, make_rows, write_job

COLUMNS = ["iteration", "epoch", "batch", "samples", "loss", "lr", "grad_norm", "seconds"]


@pytest.fixture
def job(engine: Engine) -> WrittenJob:
    return write_job(engine)


def read(api: httpx.Client, job: WrittenJob, **parameters: str | int) -> dict[str, Any]:
    answer = api.get(f"{job.path}/iterations", params=parameters)
    assert answer.status_code == httpx.codes.OK, answer.text
    page: dict[str, Any] = answer.json()
    return page


def refusal(api: httpx.Client, job: WrittenJob, **parameters: str | int) -> httpx.Response:
    answer = api.get(f"{job.path}/iterations", params=parameters)
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer


def odd_losses() -> np.ndarray[Any, np.dtype[np.float64]]:
    """Random bit patterns, and every kind of float there is; NaNs by their canonical bits."""
    bits = np.random.default_rng(7).integers(-(2**63), 2**63 - 1, 5_000, dtype=np.int64)
    values = bits.view("<f8").copy()
    values[np.isnan(values)] = np.nan
    smallest, largest = 5e-324, 1.7976931348623157e308
    subnormals = np.arange(1, 500, dtype=np.int64).view("<f8")
    known = [0.0, -0.0, math.inf, -math.inf, math.nan, smallest, -smallest, largest, 0.1, 1e22]
    return np.concatenate([values, subnormals, np.array(known)])


def same_bits(texts: list[Any], losses: np.ndarray[Any, np.dtype[np.float64]]) -> bool:
    return np.array([float(text) for text in texts]).tobytes() == losses.tobytes()


def test_a_job_without_rows_has_an_empty_page(api: httpx.Client, job: WrittenJob) -> None:
    page = read(api, job)
    assert page == {"columns": {name: [] for name in COLUMNS}, "total": 0, "next_cursor": None}


def test_a_page_has_all_columns_of_its_rows(api: httpx.Client, job: WrittenJob) -> None:
    job.write_rows(make_rows([2.5, 0.1]))
    assert read(api, job) == {
        "columns": {
            "iteration": [1, 2],
            "epoch": [1, 1],
            "batch": [1, 2],
            "samples": [64, 64],
            "loss": [2.5, 0.1],
            "lr": [0.001, 0.001],
            "grad_norm": [1 / 7, None],
            "seconds": [0.002, 0.002],
        },
        "total": 2,
        "next_cursor": None,
    }


def test_a_range_includes_both_of_its_ends(api: httpx.Client, job: WrittenJob) -> None:
    job.write_many(1_000)
    page = read(api, job, fields="loss", to=300, **{"from": 200})
    assert page["columns"]["iteration"] == list(range(200, 301))
    assert list(page["columns"]) == ["iteration", "loss"]
    assert page["total"] == 101


def test_an_epoch_gives_its_rows(api: httpx.Client, job: WrittenJob) -> None:
    job.write_many(1_050)
    page = read(api, job, epoch=3, fields="epoch")
    assert page["columns"]["iteration"] == list(range(201, 301))
    assert set(page["columns"]["epoch"]) == {3}
    assert page["total"] == 100
    assert read(api, job, epoch=11)["total"] == 50
    assert read(api, job, epoch=12)["total"] == 0
    assert read(api, job, epoch=3, **{"from": 290})["total"] == 11


def test_a_book_with_a_gap_counts_what_is_there(api: httpx.Client, job: WrittenJob) -> None:
    rows = make_rows(np.linspace(1, 2, 300))
    job.write_rows(np.delete(rows, [5, 150]))
    assert read(api, job)["total"] == 298
    assert read(api, job, epoch=2)["total"] == 99
    assert 6 not in read(api, job)["columns"]["iteration"]
    lines = api.get(f"{job.path}/iterations", params={"format": "ndjson"}).text.splitlines()
    assert len(lines) == 298


def test_pages_follow_each_other_to_the_end(api: httpx.Client, job: WrittenJob) -> None:
    job.write_many(2_345)
    seen: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        page = read(api, job, limit=1_000, fields="loss", to=2_340, **cursor)
        assert page["total"] == 2_340
        seen += page["columns"]["iteration"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == list(range(1, 2_341))


def test_a_json_page_holds_ten_thousand_rows_unless_asked(
    api: httpx.Client, job: WrittenJob
) -> None:
    job.write_many(10_001)
    page = read(api, job, fields="lr")
    assert len(page["columns"]["lr"]) == 10_000
    assert read(api, job, cursor=page["next_cursor"])["columns"]["iteration"] == [10_001]


def test_every_loss_comes_back_as_the_same_bits(api: httpx.Client, job: WrittenJob) -> None:
    losses = odd_losses()
    job.write_rows(make_rows(losses))
    columns = read(api, job, limit=100_000)["columns"]
    assert same_bits(columns["loss"], losses)
    lines = api.get(f"{job.path}/iterations", params={"format": "ndjson"}).text.splitlines()
    assert same_bits([json.loads(line)["loss"] for line in lines], losses)
    table = api.get(f"{job.path}/iterations", params={"format": "csv"}).text
    assert same_bits([row["loss"] for row in csv.DictReader(io.StringIO(table))], losses)


def test_what_is_not_finite_is_a_word(api: httpx.Client, job: WrittenJob) -> None:
    job.write_rows(make_rows([math.nan, math.inf, -math.inf, -0.0]))
    answer = api.get(f"{job.path}/iterations", params={"fields": "loss"})
    assert '"loss":["NaN","Infinity","-Infinity",-0.0]' in answer.text
    ndjson = api.get(f"{job.path}/iterations", params={"fields": "loss", "format": "ndjson"})
    assert ndjson.text.splitlines()[0] == '{"iteration":1,"loss":"NaN"}'
    table = api.get(f"{job.path}/iterations", params={"fields": "loss", "format": "csv"})
    assert table.text == "iteration,loss\n1,NaN\n2,Infinity\n3,-Infinity\n4,-0.0\n"


def test_a_gradient_norm_that_is_not_a_number_is_no_missing_one(
    api: httpx.Client, job: WrittenJob
) -> None:
    rows = make_rows([1.0, 2.0, 3.0])
    rows["has_grad_norm"] = [True, False, True]
    rows["grad_norm"] = [math.nan, 0, math.inf]
    job.write_rows(rows)
    assert read(api, job)["columns"]["grad_norm"] == ["NaN", None, "Infinity"]
    table = api.get(f"{job.path}/iterations", params={"fields": "grad_norm", "format": "csv"})
    assert table.text == "iteration,grad_norm\n1,NaN\n2,\n3,Infinity\n"


def test_ndjson_is_a_row_a_line_with_the_columns_as_keys(
    api: httpx.Client, job: WrittenJob
) -> None:
    job.write_many(45_000)
    answer = api.get(f"{job.path}/iterations", params={"format": "ndjson"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert list(lines[0]) == COLUMNS
    assert [line["iteration"] for line in lines] == list(range(1, 45_001))
    assert lines[10] == {
        "iteration": 11, "epoch": 1, "batch": 11, "samples": 64, "loss": 1 / 11,
        "lr": 0.001, "grad_norm": math.sqrt(11), "seconds": 0.002,
    }  # fmt: skip


def test_csv_starts_with_the_names_even_without_rows(api: httpx.Client, job: WrittenJob) -> None:
    answer = api.get(f"{job.path}/iterations", params={"format": "csv"})
    assert answer.headers["content-type"] == "text/csv; header=present; charset=utf-8"
    assert answer.text == ",".join(COLUMNS) + "\n"
    assert api.get(f"{job.path}/iterations", params={"format": "ndjson"}).text == ""


@on_newest_postgres
@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/x-ndjson", "application/x-ndjson"),
        ("text/csv;q=0.9, application/json;q=0.1", "text/csv; header=present; charset=utf-8"),
        ("text/html, */*;q=0.1", "application/json"),
        ("text/csv;q=0", "application/json"),
    ],
)
def test_accept_chooses_the_format(
    api: httpx.Client, job: WrittenJob, accept: str, expected: str
) -> None:
    answer = api.get(f"{job.path}/iterations", headers={"Accept": accept})
    assert answer.headers["content-type"] == expected


def test_lines_with_a_limit_link_to_the_next_page(api: httpx.Client, job: WrittenJob) -> None:
    job.write_many(25)
    answer = api.get(f"{job.path}/iterations", params={"format": "ndjson", "limit": 10})
    numbers = [json.loads(line)["iteration"] for line in answer.text.splitlines()]
    while "next" in answer.links:
        answer = api.get(answer.links["next"]["url"])
        numbers += [json.loads(line)["iteration"] for line in answer.text.splitlines()]
    assert numbers == list(range(1, 26))


def test_a_cursor_above_a_rewind_is_told_where_to_go_on(api: httpx.Client, job: WrittenJob) -> None:
    job.write_many(1_000)
    cursor = read(api, job, limit=500)["next_cursor"]
    job.rewind(400)
    answer = refusal(api, job, cursor=cursor)
    assert answer.status_code == httpx.codes.CONFLICT
    assert answer.json()["type"].endswith("rewound")
    assert answer.json()["from"] == 401
    assert read(api, job, **{"from": 401})["total"] == 0


def test_a_cursor_below_a_rewind_stays_good(api: httpx.Client, job: WrittenJob) -> None:
    job.write_many(1_000)
    cursor = read(api, job, limit=300)["next_cursor"]
    job.rewind(400)
    assert read(api, job, cursor=cursor)["columns"]["iteration"] == list(range(301, 401))
    job.rewind(350)
    job.rewind(200)
    assert refusal(api, job, cursor=cursor).json()["from"] == 201


@on_newest_postgres
@pytest.mark.parametrize(
    ("parameters", "place"),
    [
        ({"limit": -1}, "limit"),
        ({"limit": 0}, "limit"),
        ({"limit": 100_001}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"cursor": "made-up"}, "cursor"),
        ({"cursor": "\0"}, "cursor"),
        ({"from": 5, "to": 4}, "from"),
        ({"from": 0}, "from"),
        ({"from": 2**63}, "from"),
        ({"to": "NaN"}, "to"),
        ({"epoch": -3}, "epoch"),
        ({"epoch": 2**31}, "epoch"),
        ({"fields": "los"}, "fields"),
        ({"fields": ""}, "fields"),
        ({"format": "xml"}, "format"),
    ],
)
@pytest.mark.parametrize("form", [{}, {"format": "ndjson"}])
def test_a_bad_parameter_is_named(
    api: httpx.Client,
    job: WrittenJob,
    parameters: dict[str, Any],
    place: str,
    form: dict[str, str],
) -> None:
    answer = refusal(api, job, **form | parameters)
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert [error["loc"] for error in answer.json()["errors"]] == [["query", place]]


@on_newest_postgres
def test_an_unknown_column_suggests_the_nearest(api: httpx.Client, job: WrittenJob) -> None:
    (error,) = refusal(api, job, fields="loss,grad_nrom").json()["errors"]
    assert error["msg"] == "grad_nrom: did you mean grad_norm?"


def test_a_cursor_of_another_query_is_refused(api: httpx.Client, job: WrittenJob) -> None:
    job.write_many(100)
    cursor = read(api, job, limit=10)["next_cursor"]
    assert refusal(api, job, cursor=cursor, to=50).status_code == 422
    assert len(read(api, job, cursor=cursor, fields="lr", limit=5)["columns"]["lr"]) == 5


def test_an_unknown_job_is_missing_and_no_uuid_is_invalid(api: httpx.Client) -> None:
    for parameters in ({}, {"format": "csv"}):
        missing = api.get(f"/v1/jobs/{new_id()}/iterations", params=parameters)
        assert missing.status_code == httpx.codes.NOT_FOUND
        assert missing.json()["status"] == httpx.codes.NOT_FOUND
        odd = api.get("/v1/jobs/seven/iterations", params=parameters)
        assert odd.status_code == httpx.codes.UNPROCESSABLE_ENTITY
