"""GET /v1/jobs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from pydantic import JsonValue
from sqlalchemy import BindParameter, Engine, event
from sqlalchemy.sql import visitors

from api.listings import MOST_TAGS
from api.main import create_app
from foundation.settings import Settings
from models.domain.lifecycle import Outcome, StopReason
from models.domain.search import parse_orders
from services.cursors import encode_cursor
from services.listing import Listing
from services.selecting import Selection
from tests.serving import serving
from tests.submitted import Crew, Json, submit


def items(api: httpx.Client, **query: Any) -> list[Json]:  # noqa: ANN401 - a query
    answer = api.get("/v1/jobs", params=query)
    assert answer.status_code == httpx.codes.OK, answer.text
    return list(answer.json()["items"])


def names(api: httpx.Client, **query: Any) -> list[str]:  # noqa: ANN401 - a query
    return [item["name"] for item in items(api, **query)]


def test_the_newest_stand_first_or_last_as_asked(api: httpx.Client) -> None:
    for name in ("a", "b", "c"):
        submit(api, name=name)
    assert names(api) == names(api, order_by="-created_at") == ["c", "b", "a"]
    assert names(api, order_by="created_at") == ["a", "b", "c"]


@pytest.mark.parametrize("order_by", ["created_at", "-created_at"])
def test_pages_hold_every_job_once(api: httpx.Client, order_by: str) -> None:
    made = [submit(api)["id"] for _ in range(7)]
    seen: list[str] = []
    query: Json = {"limit": 3, "order_by": order_by}
    while True:
        page = api.get("/v1/jobs", params=query).json()
        seen += [job["id"] for job in page["items"]]
        if page["next_cursor"] is None:
            break
        assert len(page["items"]) == 3
        query["cursor"] = page["next_cursor"]
    assert seen == (made if order_by == "created_at" else made[::-1])


def test_a_tag_is_found_whichever_part_of_it_holds_a_colon(api: httpx.Client) -> None:
    submit(api, name="key", tags={"a:b": "c"})
    submit(api, name="value", tags={"a": "b:c"})
    submit(api, name="neither", tags={"a": "b"})
    assert names(api, tag="a:b:c") == ["value", "key"]


def test_jobs_are_found_by_project_state_and_tags(api: httpx.Client, engine: Engine) -> None:
    submit(api, name="a", project="one", tags={"team": "vision", "at": "10:30"})
    submit(api, name="b", project="two", tags={"team": "vision"})
    submit(api, name="c", project="two", tags={"team": "speech"})
    Crew(engine).claim()
    assert names(api, project="two") == ["c", "b"]
    assert names(api, project="three") == []
    assert names(api, state="running") == ["a"]
    assert names(api, state=["running", "queued"]) == ["c", "b", "a"]
    assert names(api, tag="team:vision") == ["b", "a"]
    assert names(api, tag=["team:vision", "at:10:30"]) == ["a"]
    assert names(api, tag=["team:vision", "team:speech"]) == []
    assert names(api, tag=":" * 5000) == []
    assert names(api, project="two", tag="team:vision", state="queued") == ["b"]


def test_a_query_names_as_many_tags_as_a_job_may_have(api: httpx.Client) -> None:
    tags = {f"key {number}": "value" for number in range(MOST_TAGS)}
    submit(api, name="all", tags=tags)
    asked = [f"{key}:{value}" for key, value in tags.items()]
    assert names(api, tag=asked) == ["all"]
    answer = api.get("/v1/jobs", params={"tag": [*asked, "one:more"]})
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert answer.json()["errors"][0]["loc"] == ["query", "tag"]


@pytest.mark.parametrize("tag", ["a:b", ":" * 300])
def test_a_tag_is_one_parameter_however_it_may_be_read(tag: str) -> None:
    (clause,) = Selection(tags=[tag]).clauses()
    parameters = [each for each in visitors.iterate(clause) if isinstance(each, BindParameter)]
    assert len(parameters) == 1


def test_a_cursor_is_good_for_its_own_list_only(api: httpx.Client) -> None:
    for _ in range(2):
        submit(api, project="one")
    query: Json = {"limit": 1, "project": "one"}
    cursor = api.get("/v1/jobs", params=query).json()["next_cursor"]
    assert len(items(api, **query, cursor=cursor)) == 1
    for other in (
        {"limit": 1},
        {**query, "project": "two"},
        {**query, "order_by": "created_at"},
        {**query, "state": "queued"},
        {**query, "tag": "a:b"},
    ):
        answer = api.get("/v1/jobs", params={**other, "cursor": cursor})
        assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY, other
        assert answer.json()["errors"][0]["loc"] == ["query", "cursor"]


def test_a_cursor_that_holds_something_else_is_refused(api: httpx.Client) -> None:
    name = Listing(Selection(), parse_orders("-created_at")).name
    strange: list[JsonValue] = ["7", 7, [True], None, [None], [2**63], [7, 7], [7.0], ["7"]]
    for payload in strange:
        answer = api.get("/v1/jobs", params={"cursor": encode_cursor(name, payload)})
        assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY, payload


def test_items_leave_out_what_include_does_not_name(api: httpx.Client, engine: Engine) -> None:
    job_id = submit(api)["id"]
    crew = Crew(engine)
    crew.claim()
    error = {"type": "E", "message": "m", "traceback": "t"}
    crew.end(job_id, Outcome.ERROR, StopReason.ERROR, error)
    whole = api.get(f"/v1/jobs/{job_id}").json()
    (item,) = items(api)
    assert "attempts" not in item
    assert "metrics" not in item
    assert "network" not in item["plan"]
    assert item["error"] == {"type": "E", "message": "m"}
    rest = {"attempts", "metrics", "plan", "error"}
    assert {k: v for k, v in item.items() if k not in rest} == {
        k: v for k, v in whole.items() if k not in rest
    }
    assert items(api, include="attempts,metrics,plan.network,error.traceback") == [whole]
    assert items(api, include=["attempts,metrics", "plan.network, error.traceback"]) == [whole]
    (item,) = items(api, include="attempts")
    assert item["attempts"] == whole["attempts"]
    assert "network" not in item["plan"]


def test_include_of_something_else_names_what_there_is(api: httpx.Client) -> None:
    answer = api.get("/v1/jobs", params={"include": "attempts,plan.layers"})
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    (error,) = answer.json()["errors"]
    assert error["loc"] == ["query", "include"]
    assert "plan.network" in error["msg"]


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(*arguments: object) -> None:
        statements.append(str(arguments[2]))

    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)


def test_a_page_of_fifty_takes_as_many_statements_as_a_page_of_one(settings: Settings) -> None:
    app = create_app(settings)
    with serving(settings, app) as api:
        engine: Engine = app.state.parts.engine
        with counted(engine) as one:
            submit(api)
            one.clear()
            items(api, include="attempts")
        for _ in range(49):
            submit(api)
        with counted(engine) as fifty:
            assert len(items(api, include="attempts")) == 50
        assert len(fifty) == len(one) <= 6
