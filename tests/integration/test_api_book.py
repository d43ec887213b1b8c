"""Epochs, layers, events and log lines over HTTP."""

import math
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from foundation.ids import new_id
from models.schemas.readings import Epoch
from services.database import transaction
from tests.versions import on_newest_postgres
from tests.waiting import wait_until
from tests.written import WrittenJob, write_job

LAYERS = [
    {"name": "conv1", "kind": "conv", "output_shape": [6, 4, 4], "parameters": 60},
    {"name": "max_pool1", "kind": "max_pool", "output_shape": [6, 2, 2], "parameters": 0},
    {"name": "linear1", "kind": "linear", "output_shape": [10], "parameters": 250},
]


@pytest.fixture
def job(engine: Engine) -> WrittenJob:
    return write_job(engine, plan={"network": {"parameters": 310, "layers": LAYERS}})


def get(api: httpx.Client, path: str, **parameters: str | int) -> Any:  # noqa: ANN401 - JSON
    answer = api.get(path, params=parameters)
    assert answer.status_code == httpx.codes.OK, answer.text
    return answer.json()


def pages(api: httpx.Client, path: str, limit: int, **query: str) -> Iterator[Any]:
    page = get(api, path, limit=limit, **query)
    yield page
    while page["next_cursor"] is not None:
        page = get(api, path, limit=limit, cursor=page["next_cursor"], **query)
        yield page


def epoch_row(number: int, **columns: Any) -> dict[str, Any]:  # noqa: ANN401 - any column
    return {
        "epoch": number,
        "batches": 100,
        "samples": 6_400,
        "first_iteration": 100 * number - 99,
        "last_iteration": 100 * number,
        "train_loss": 1 / number,
        "train_accuracy": 0.5,
        "skipped_updates": 0,
        "seconds": 0.25,
        "samples_per_second": 25_600.0,
        **columns,
    }


def write_layers(job: WrittenJob, iterations: range, errors: tuple[float | None, ...]) -> None:
    job.write(
        "layer_readings",
        *(
            {
                "iteration": iteration,
                "position": position,
                "error_norm": error,
                "grad_norm": None if position == 1 else 0.5,
                "weight_norm": None if position == 1 else 3.0,
                "update_ratio": None if position == 1 else 0.001,
            }
            for iteration in iterations
            for position, error in enumerate(errors)
        ),
    )


def write_event(job: WrittenJob, *numbers: int, kind: str = "warning") -> None:
    job.write(
        "events",
        *({"id": number, "type": kind, "attempt": 1, "data": {"n": number}} for number in numbers),
    )


def test_an_epoch_has_every_field_of_the_contract(api: httpx.Client, job: WrittenJob) -> None:
    job.write("epochs", epoch_row(1, test_loss=math.nan, val_loss=math.inf))
    (item,) = get(api, f"{job.path}/epochs")["items"]
    assert list(item) == list(Epoch.model_fields)
    assert item == dict.fromkeys(Epoch.model_fields) | epoch_row(
        1, test_loss="NaN", val_loss="Infinity"
    )


def test_epochs_come_page_by_page(api: httpx.Client, job: WrittenJob) -> None:
    job.write("epochs", *(epoch_row(number) for number in range(1, 8)))
    found = list(pages(api, f"{job.path}/epochs", limit=3))
    assert [[item["epoch"] for item in page["items"]] for page in found] == [
        [1, 2, 3],
        [4, 5, 6],
        [7],
    ]


def test_a_cursor_of_epochs_knows_a_rewind(api: httpx.Client, job: WrittenJob) -> None:
    job.write("epochs", *(epoch_row(number) for number in range(1, 5)))
    cursor = get(api, f"{job.path}/epochs", limit=2)["next_cursor"]
    job.rewind(200)
    assert [item["epoch"] for item in get(api, f"{job.path}/epochs", cursor=cursor)["items"]] == [
        3,
        4,
    ]
    job.rewind(150)
    answer = api.get(f"{job.path}/epochs", params={"cursor": cursor})
    assert answer.status_code == httpx.codes.CONFLICT
    assert "iteration 150" in answer.json()["detail"]


def test_layers_tell_name_kind_and_share(api: httpx.Client, job: WrittenJob) -> None:
    write_layers(job, range(1, 2), (0.8, 0.8, 1.6))
    assert get(api, f"{job.path}/layers") == {
        "every": 50,
        "columns": {
            "iteration": [1, 1, 1],
            "layer": ["conv1", "max_pool1", "linear1"],
            "kind": ["conv", "max_pool", "linear"],
            "error_norm": [0.8, 0.8, 1.6],
            "error_share": [0.25, 0.25, 0.5],
            "grad_norm": [0.5, None, 0.5],
            "weight_norm": [3.0, None, 3.0],
            "update_ratio": [0.001, None, 0.001],
        },
        "next_cursor": None,
    }


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 100])
def test_shares_are_the_same_however_pages_cut(
    api: httpx.Client, job: WrittenJob, limit: int
) -> None:
    write_layers(job, range(1, 202, 50), (1.0, 2.0, 5.0))
    found = list(pages(api, f"{job.path}/layers", limit=limit))
    rows = [
        row
        for page in found
        for row in zip(
            page["columns"]["iteration"],
            page["columns"]["layer"],
            page["columns"]["error_share"],
            strict=True,
        )
    ]
    names = [layer["name"] for layer in LAYERS]
    shares = [0.125, 0.25, 0.625]
    assert rows == [
        (iteration, name, share)
        for iteration in range(1, 202, 50)
        for name, share in zip(names, shares, strict=True)
    ]
    assert max(len(page["columns"]["layer"]) for page in found) <= limit


def test_layers_without_error_have_no_share(api: httpx.Client, job: WrittenJob) -> None:
    assert get(api, f"{job.path}/layers")["columns"]["layer"] == []
    write_layers(job, range(1, 2), (0.0, None, 0.0))
    write_layers(job, range(51, 52), (1.0, None, math.nan))
    columns = get(api, f"{job.path}/layers")["columns"]
    assert columns["error_norm"] == [0.0, None, 0.0, 1.0, None, "NaN"]
    assert columns["error_share"] == [None, None, None, "NaN", None, "NaN"]


def test_events_of_a_job_come_in_order(api: httpx.Client, job: WrittenJob) -> None:
    write_event(job, 2, 1, 3)
    found = list(pages(api, f"{job.path}/events", limit=2))
    items = [item for page in found for item in page["items"]]
    assert [item["id"] for item in items] == [1, 2, 3]
    assert items[0].keys() == {"id", "at", "type", "attempt", "data"}
    assert items[0]["data"] == {"n": 1}
    assert items[0]["at"].endswith("Z")


def test_events_of_a_project_come_in_the_order_of_transactions(
    api: httpx.Client, engine: Engine
) -> None:
    first, second = write_job(engine, project="vision"), write_job(engine, project="vision")
    other = write_job(engine, project="speech")
    for job, number in ((second, 1), (first, 1), (other, 1), (first, 2), (second, 2)):
        write_event(job, number)

    def items(limit: int) -> list[tuple[str, int]]:
        found = [
            item
            for page in pages(api, "/v1/events", limit, project="vision")
            for item in page["items"]
        ]
        return [(item["job"], item["id"]) for item in found]

    one, two = str(first.id), str(second.id)
    expected = [(two, 1), (one, 1), (one, 2), (two, 2)]
    # A transaction anywhere on the server holds back what came after it.
    wait_until(lambda: len(items(50)) == len(expected), 60, "the events can be read")
    assert items(50) == expected
    assert items(3) == expected
    assert len(get(api, "/v1/events")["items"]) == 5


def test_an_event_waits_for_the_transactions_before_it(
    api: httpx.Client, engine: Engine, job: WrittenJob
) -> None:
    insert = text(
        "INSERT INTO events (job_key, id, type, data) VALUES (:key, :id, 'warning', '{}')"
    )
    with engine.connect() as slow:
        slow.execute(insert, {"key": job.key, "id": 1})
        with transaction(engine) as fast:
            fast.execute(insert, {"key": job.key, "id": 2})
        assert get(api, "/v1/events")["items"] == []
        slow.commit()

    def numbers() -> list[int]:
        return [item["id"] for item in get(api, "/v1/events")["items"]]

    wait_until(lambda: len(numbers()) == 2, 60, "both can be read")
    assert numbers() == [1, 2]


def test_log_lines_come_in_order(api: httpx.Client, job: WrittenJob) -> None:
    job.write(
        "logs",
        {"line": 2, "attempt": 1, "stream": "stderr", "text": "second\u2028 <b>"},
        {"line": 1, "attempt": 1, "stream": "stdout", "text": ""},
    )
    items = [item for page in pages(api, f"{job.path}/logs", 1) for item in page["items"]]
    assert [(item["line"], item["stream"], item["text"]) for item in items] == [
        (1, "stdout", ""),
        (2, "stderr", "second\u2028 <b>"),
    ]
    assert items[0].keys() == {"line", "at", "attempt", "stream", "text"}


@on_newest_postgres
@pytest.mark.parametrize("page", ["epochs", "layers", "events", "logs", "artifacts"])
def test_a_page_of_an_unknown_job_is_missing(api: httpx.Client, page: str) -> None:
    assert api.get(f"/v1/jobs/{new_id()}/{page}").status_code == httpx.codes.NOT_FOUND
    assert api.get(f"/v1/jobs/7/{page}").status_code == httpx.codes.UNPROCESSABLE_ENTITY


@on_newest_postgres
@pytest.mark.parametrize("page", ["{job}/epochs", "{job}/layers", "{job}/events", "{job}/logs"])
@pytest.mark.parametrize("query", ["limit=-1", "limit=1000000", "cursor=AAAA", "cursor=%00"])
def test_a_bad_page_is_refused(api: httpx.Client, job: WrittenJob, page: str, query: str) -> None:
    answer = api.get(f"{page.format(job=job.path)}?{query}")
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert answer.json()["errors"][0]["loc"] == ["query", query.partition("=")[0]]


def test_a_cursor_of_another_job_is_refused(api: httpx.Client, engine: Engine) -> None:
    one, other = write_job(engine), write_job(engine)
    write_event(one, 1, 2)
    cursor = get(api, f"{one.path}/events", limit=1)["next_cursor"]
    assert api.get(f"{other.path}/events", params={"cursor": cursor}).status_code == 422
    assert api.get("/v1/events", params={"cursor": cursor}).status_code == 422
