"""GET /v1/jobs with `group_by`."""

import math
import statistics
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from tests.integration.test_api_search import summarise
from tests.submitted import Crew, Json, submit


def groups(api: httpx.Client, **query: Any) -> list[Json]:  # noqa: ANN401 - a query
    answer = api.get("/v1/jobs", params=query)
    assert answer.status_code == httpx.codes.OK, answer.text
    return list(answer.json()["items"])


def test_a_group_has_the_statistics_of_its_summary_numbers(
    api: httpx.Client, engine: Engine
) -> None:
    losses = {0.01: [0.5, 0.25, 0.75], 0.1: [1.0], 0.5: []}
    for lr, values in losses.items():
        for number, loss in enumerate([*values, None]):
            name = f"{lr} {number}"
            submit(api, name=name, optimizer={"name": "sgd", "lr": lr})
            summarise(engine, name, best_loss=loss)
    made = groups(api, group_by="spec.optimizer.lr")
    assert [(group["value"], group["jobs"]) for group in made] == [(0.01, 4), (0.1, 2), (0.5, 1)]
    assert made[0]["summary"]["best_loss"] == {
        "count": 3,
        "non_finite": 0,
        "mean": 0.5,
        "std": statistics.stdev(losses[0.01]),
        "min": 0.25,
        "max": 0.75,
    }
    assert made[1]["summary"]["best_loss"]["std"] is None
    nothing = {"count": 0, "non_finite": 0, "mean": None, "std": None, "min": None, "max": None}
    assert made[2]["summary"]["best_loss"] == nothing
    assert made[0]["summary"]["val_loss"] == nothing


def test_a_number_that_is_not_finite_is_counted_apart(api: httpx.Client, engine: Engine) -> None:
    for name, loss in (("a", 1.0), ("b", math.nan), ("c", math.inf), ("d", 3.0)):
        submit(api, name=name)
        summarise(engine, name, test_loss=loss)
    (group,) = groups(api, group_by="project")
    assert group["summary"]["test_loss"] == {
        "count": 4,
        "non_finite": 2,
        "mean": 2.0,
        "std": math.sqrt(2.0),
        "min": 1.0,
        "max": 3.0,
    }


def test_numbers_whose_squares_no_float_holds_have_a_mean(
    api: httpx.Client, engine: Engine
) -> None:
    for name, loss in (("a", 1e300), ("b", 3e300), ("c", math.nan)):
        submit(api, name=name)
        summarise(engine, name, test_loss=loss, best_loss=loss / 1e300)
    (group,) = groups(api, group_by="project")
    found = group["summary"]["test_loss"]
    assert found["mean"] == 2e300
    assert found["std"] == pytest.approx(math.sqrt(2) * 1e300)
    assert group["summary"]["best_loss"]["mean"] == 2.0


def test_groups_of_values_of_any_type_come_in_order_and_page_by_page(api: httpx.Client) -> None:
    for batch_size in (64, "full", 8, 64):
        submit(api, batch_size=batch_size, tags={"b": str(batch_size)})
    submit(api, dataset={"name": "digits", "resize": [4, 4]})
    seen: list[Json] = []
    query: Json = {"group_by": "spec.batch_size", "limit": 1}
    while True:
        page = api.get("/v1/jobs", params=query).json()
        assert page["group_by"] == "spec.batch_size"
        seen += page["items"]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert [(each["value"], each["jobs"]) for each in seen] == [("full", 1), (8, 1), (64, 3)]
    values = [each["value"] for each in groups(api, group_by="tags.b")]
    assert values == ["64", "8", "full", None]
    values = [each["value"] for each in groups(api, group_by="spec.dataset.resize")]
    assert values == ["[4, 4]", None]


def test_a_group_goes_with_a_filter_and_its_cursor_is_its_own(
    api: httpx.Client, engine: Engine
) -> None:
    for name, project in (("a", "one"), ("b", "one"), ("c", "two"), ("d", "three")):
        submit(api, name=name, project=project)
    Crew(engine).claim()
    made = groups(api, group_by="project", filter="state = 'queued' and project != 'three'")
    assert [(each["value"], each["jobs"]) for each in made] == [("one", 1), ("two", 1)]
    made = groups(api, group_by="state", project="one")
    assert [(each["value"], each["jobs"]) for each in made] == [("queued", 1), ("running", 1)]
    query: Json = {"group_by": "project", "limit": 1}
    cursor = api.get("/v1/jobs", params=query).json()["next_cursor"]
    for other in ({"group_by": "state"}, {"filter": "loss = null"}):
        answer = api.get("/v1/jobs", params={**query, **other, "cursor": cursor})
        assert answer.json()["type"] == "/problems/cursor-invalid"


@pytest.mark.parametrize("field", ["created_at", "started_at", "id", "reproducible", "loss"])
def test_any_field_may_be_grouped_by(api: httpx.Client, field: str) -> None:
    job = submit(api)
    (group,) = groups(api, group_by=field)
    assert group["jobs"] == 1
    if field in {"id", "reproducible"}:
        assert group["value"] == job[field]
