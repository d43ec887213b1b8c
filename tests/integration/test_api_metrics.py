"""Metrics of a trainer's own over HTTP: on the job, listed, paged and as lines."""

import csv
import io
import json
import math
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine

from foundation.ids import new_id
from models.domain.metrics import MetricKind
from services import metrics as reading
from services.pages import Page
from tests.measured import Told, block_of
from tests.submitted import Crew, submit
from tests.versions import on_newest_postgres
from tests.written import make_rows

ITERATION, EPOCH = MetricKind.ITERATION, MetricKind.EPOCH
COUNT = 40
ODD = {1: math.nan, 2: math.inf, 3: -math.inf, 4: 0.1, 5: -0.0, 6: 5e-324}
OTHERS = [float(n) / 7 for n in range(7, COUNT + 1)]


def told() -> list[Told]:
    values = [*ODD.values(), *OTHERS]
    return [
        *((n, {"gap/mean": value}, ITERATION) for n, value in enumerate(values, start=1)),
        *((n, {"top.5": n / 100}, EPOCH) for n in (20, 40)),
    ]


@pytest.fixture
def path(api: httpx.Client, engine: Engine) -> str:
    """A running job with metrics."""
    job_id = submit(api)["id"]
    crew = Crew(engine)
    crew.claim()
    crew.flush(job_id, Page(rows=make_rows(np.ones(COUNT)), metrics=block_of(*told())))
    return f"/v1/jobs/{job_id}"


def get(api: httpx.Client, path: str, **parameters: str | int) -> Any:  # noqa: ANN401 - JSON
    answer = api.get(path, params=parameters)
    assert answer.status_code == httpx.codes.OK, answer.text
    return answer.json()


def test_the_job_says_what_its_metrics_have_come_to(api: httpx.Client, path: str) -> None:
    job = get(api, path)
    assert job["metrics"] == {
        "gap/mean": {"last": 40 / 7, "min": -0.0, "max": 40 / 7, "count": COUNT},
        "top.5": {"last": 0.4, "min": 0.2, "max": 0.4, "count": 2},
    }
    (item,) = get(api, "/v1/jobs", include="metrics")["items"]
    assert item["metrics"] == job["metrics"]
    (item,) = get(api, "/v1/jobs")["items"]
    assert "metrics" not in item


def test_jobs_are_found_and_ordered_by_what_their_metrics_have_come_to(
    api: httpx.Client, engine: Engine, path: str
) -> None:
    other = submit(api)["id"]
    crew = Crew(engine)
    crew.claim()
    metrics = block_of((1, {"gap/mean": 9.0}, ITERATION))
    crew.flush(other, Page(rows=make_rows([1.0]), metrics=metrics))
    job = path.rpartition("/")[2]

    def found(**query: str) -> list[str]:
        return [item["id"] for item in get(api, "/v1/jobs", **query)["items"]]

    assert found(filter='metrics."gap/mean".last < 6') == [job]
    assert found(filter='metrics."gap/mean".min > 6') == [other]
    assert found(order_by='metrics."gap/mean".max') == [job, other]
    assert found(filter='metrics."top.5".max = 0.4') == [job]


def test_a_job_without_metrics_has_none(api: httpx.Client) -> None:
    job = submit(api)
    assert job["metrics"] == {}
    assert get(api, f"/v1/jobs/{job['id']}/metrics") == {"items": [], "next_cursor": None}
    lines = api.get(f"/v1/jobs/{job['id']}/metrics/values", params={"format": "csv"})
    assert lines.text == "metric,iteration,value\n"


def test_a_metric_that_is_not_finite_is_told_by_its_word(api: httpx.Client, engine: Engine) -> None:
    job_id = submit(api)["id"]
    crew = Crew(engine)
    crew.claim()
    metrics = block_of((1, {"nan": math.nan, "low": -math.inf}, ITERATION))
    crew.flush(job_id, Page(rows=make_rows([1.0]), metrics=metrics))
    job = get(api, f"/v1/jobs/{job_id}")
    none = {"min": None, "max": None, "count": 1}
    assert job["metrics"] == {"nan": {"last": "NaN", **none}, "low": {"last": "-Infinity", **none}}


def test_metrics_are_listed_with_their_kinds(api: httpx.Client, path: str) -> None:
    assert get(api, f"{path}/metrics") == {
        "items": [
            {
                "name": "gap/mean",
                "kind": "iteration",
                "count": COUNT,
                "non_finite": 3,
                "last": 40 / 7,
                "min": -0.0,
                "max": 40 / 7,
                "last_iteration": COUNT,
            },
            {
                "name": "top.5",
                "kind": "epoch",
                "count": 2,
                "non_finite": 0,
                "last": 0.4,
                "min": 0.2,
                "max": 0.4,
                "last_iteration": COUNT,
            },
        ],
        "next_cursor": None,
    }


def test_values_come_in_pages_to_the_same_bits(api: httpx.Client, path: str) -> None:
    values, iterations = [], []
    cursor: dict[str, str] = {}
    while True:
        page = get(api, f"{path}/metrics/values", name="gap/mean", limit=7, **cursor)
        assert (page["metric"], page["total"]) == ("gap/mean", COUNT)
        iterations += page["columns"]["iteration"]
        values += page["columns"]["value"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert iterations == list(range(1, COUNT + 1))
    assert values[:3] == ["NaN", "Infinity", "-Infinity"]
    expected = [*ODD.values(), *OTHERS]
    assert np.array([float(value) for value in values]).tobytes() == np.array(expected).tobytes()


def test_a_range_includes_both_of_its_ends(api: httpx.Client, path: str) -> None:
    page = get(api, f"{path}/metrics/values", name="gap/mean", to=9, **{"from": 7})
    assert page == {
        "metric": "gap/mean",
        "columns": {"iteration": [7, 8, 9], "value": [1.0, 8 / 7, 9 / 7]},
        "total": 3,
        "next_cursor": None,
    }
    page = get(api, f"{path}/metrics/values", name="top.5", **{"from": 21})
    assert page["columns"] == {"iteration": [40], "value": [0.4]}


@pytest.mark.parametrize("piece", [1, 7, 16_000])
def test_lines_hold_every_metric(
    api: httpx.Client, path: str, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(reading, "PIECE_ROWS", piece)
    expected = [
        *(["gap/mean", n, v] for n, v in enumerate([*ODD.values(), *OTHERS], start=1)),
        ["top.5", 20, 0.2],
        ["top.5", 40, 0.4],
    ]
    answer = api.get(f"{path}/metrics/values", headers={"Accept": "application/x-ndjson"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    rows = [json.loads(line) for line in answer.text.splitlines()]
    found = [[row["metric"], row["iteration"], float(row["value"])] for row in rows]
    assert repr(found) == repr(expected)
    answer = api.get(f"{path}/metrics/values", params={"format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    head, *lines = csv.reader(io.StringIO(answer.text))
    assert head == ["metric", "iteration", "value"]
    found = [[name, int(iteration), float(value)] for name, iteration, value in lines]
    assert repr(found) == repr(expected)


def test_lines_of_one_metric_and_range(api: httpx.Client, path: str) -> None:
    query: dict[str, str | int] = {"format": "ndjson", "name": "top.5", "from": 20, "to": 39}
    answer = api.get(f"{path}/metrics/values", params=query)
    assert answer.text == '{"metric":"top.5","iteration":20,"value":0.2}\n'


def test_a_page_of_lines_names_the_next_one(api: httpx.Client, path: str) -> None:
    url, lines = f"{path}/metrics/values?format=csv&name=gap/mean&limit=15", []
    while url:
        answer = api.get(url)
        head, *page = answer.text.splitlines()
        assert head == "metric,iteration,value"
        lines += page
        url = answer.links.get("next", {}).get("url", "")
    assert [line.split(",")[:2] for line in lines] == [
        ["gap/mean", str(n)] for n in range(1, COUNT + 1)
    ]


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_values_as_columns_are_the_same_bits(api: httpx.Client, path: str, form: str) -> None:
    answer = api.get(f"{path}/metrics/values", params={"format": form})
    if form == "arrow":
        table = pa.ipc.open_stream(answer.content).read_all()
    else:
        table = pq.read_table(io.BytesIO(answer.content))
    assert table.column_names == ["metric", "iteration", "value"]
    assert table.column("metric").to_pylist() == ["gap/mean"] * COUNT + ["top.5"] * 2
    assert table.column("iteration").to_pylist() == [*range(1, COUNT + 1), 20, 40]
    expected = np.array([*ODD.values(), *OTHERS, 0.2, 0.4])
    assert table.column("value").to_numpy().tobytes() == expected.tobytes()


@pytest.mark.parametrize("query", [{"format": "ndjson"}, {"name": "top.5"}], ids=repr)
def test_a_finished_jobs_values_need_not_be_read_again(
    api: httpx.Client, engine: Engine, query: dict[str, str]
) -> None:
    job_id = submit(api)["id"]
    crew = Crew(engine)
    crew.claim()
    crew.flush(job_id, Page(rows=make_rows(np.ones(COUNT)), metrics=block_of(*told())))
    url = f"/v1/jobs/{job_id}/metrics/values"
    assert "etag" not in api.get(url, params=query).headers
    crew.end(job_id)
    tag = api.get(url, params=query).headers["etag"]
    again = api.get(url, params=query, headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (httpx.codes.NOT_MODIFIED, b"")
    other = api.get(url, params={**query, "from": 2}, headers={"If-None-Match": tag})
    assert other.status_code == httpx.codes.OK


@pytest.mark.parametrize("form", ["json", "ndjson"])
def test_a_metric_that_is_not_there_is_a_404(api: httpx.Client, path: str, form: str) -> None:
    answer = api.get(f"{path}/metrics/values", params={"name": "none", "format": form})
    assert answer.status_code == httpx.codes.NOT_FOUND
    assert answer.json()["type"] == "/problems/metric-missing"
    assert answer.json()["detail"].endswith("has no metric none")


@pytest.mark.parametrize("call", ["metrics", "metrics/values?name=a", "metrics/values?format=csv"])
def test_a_job_that_is_not_there_is_a_404(api: httpx.Client, call: str) -> None:
    answer = api.get(f"/v1/jobs/{new_id()}/{call}")
    assert answer.status_code == httpx.codes.NOT_FOUND
    assert answer.json()["type"] == "/problems/job-missing"


@on_newest_postgres
@pytest.mark.parametrize(
    "query",
    [
        {},
        {"name": "gap/mean", "from": 9, "to": 8},
        {"name": "gap/mean", "from": 0},
        {"name": "gap/mean", "limit": 0},
        {"name": "gap/mean", "limit": 100_001},
        {"name": "gap/mean", "cursor": "AAAA"},
        {"name": "gap/mean", "format": "feather"},
        {"limit": 5, "format": "csv"},
        {"name": "a" * 101},
    ],
    ids=repr,
)
def test_a_query_that_breaks_a_rule_is_refused(
    api: httpx.Client, path: str, query: dict[str, str | int]
) -> None:
    answer = api.get(f"{path}/metrics/values", params=query)
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert answer.json()["errors"]


def test_a_cursor_of_one_metric_is_not_anothers(api: httpx.Client, path: str) -> None:
    page = get(api, f"{path}/metrics/values", name="top.5", limit=1)
    query = {"name": "gap/mean", "cursor": page["next_cursor"]}
    answer = api.get(f"{path}/metrics/values", params=query)
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
