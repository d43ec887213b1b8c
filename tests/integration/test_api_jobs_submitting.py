"""POST /v1/jobs and /v1/jobs/batch."""

from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine, func, select

from foundation.ids import new_id
from models.tables import jobs
from services.database import transaction
from tests.submitted import Crew, Json, events_of, get, spec_of, submit
from tests.versions import on_newest_postgres


def stored(engine: Engine) -> int:
    with transaction(engine) as connection:
        return connection.execute(select(func.count()).select_from(jobs)).scalar_one()


def test_a_job_is_answered_with_its_place_and_all_that_the_contract_names(
    api: httpx.Client,
) -> None:
    answer = api.post("/v1/jobs", json=spec_of(name="first", tags={"team": "vision"}))
    job = answer.json()
    assert answer.status_code == httpx.codes.CREATED
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert UUID(job["id"]).version == 7
    assert set(job) == {
        *("id", "name", "project", "notes", "tags", "parent", "created_by", "state", "wanted"),
        *("priority", "waiting_for", "queue_position", "reproducible", "spec", "spec_sha256"),
        *("plan", "progress", "latest", "summary", "book", "attempts", "stop_reason", "error"),
        *("created_at", "started_at", "finished_at", "metrics"),
    }
    assert (job["name"], job["tags"], job["state"]) == ("first", {"team": "vision"}, "queued")
    assert job["progress"] == {
        "phase": "queued",
        "epoch": 0,
        "batch": 0,
        "iteration": 0,
        "iterations_total": 46,
        "fraction": 0.0,
        "iterations_per_second": None,
        "eta_seconds": None,
    }
    assert job["book"] == {
        "rows": 0,
        "expected": 0,
        "complete": True,
        "loss_sha256": None,
        "weights_sha256": None,
        "archived_at": None,
    }
    assert api.get(answer.headers["location"]).json()["id"] == job["id"]


def test_a_new_job_has_its_first_event(api: httpx.Client) -> None:
    (event,) = events_of(api, submit(api)["id"])
    assert (event["id"], event["type"]) == (1, "state")
    assert event["data"] == {"from": None, "to": "queued"}


def test_the_spec_of_a_job_has_every_default_and_is_the_same_training_again(
    api: httpx.Client,
) -> None:
    job = submit(api, deterministic=False)
    assert job["spec"]["optimizer"]["lr"] == 0.001
    assert job["reproducible"] is False
    again = api.post("/v1/jobs", json=job["spec"]).json()
    assert again["spec"] == job["spec"]
    assert again["spec_sha256"] == job["spec_sha256"]
    assert again["plan"]["same_as"] == [job["id"]]


def test_a_job_may_name_a_parent_that_exists(api: httpx.Client) -> None:
    parent = submit(api)["id"]
    assert submit(api, parent=parent)["parent"] == parent


def test_a_plan_refuses_a_parent_that_does_not_exist_too(api: httpx.Client) -> None:
    answer = api.post("/v1/plan", json=spec_of(parent=str(new_id())))
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert answer.json()["errors"] == [{"loc": ["parent"], "msg": "there is no such job"}]
    parent = submit(api)["id"]
    assert api.post("/v1/plan", json=spec_of(parent=parent)).status_code == httpx.codes.OK


@on_newest_postgres
@pytest.mark.parametrize("number", [1e16, 1e30, 1.2345678901234567e22, 1.7e308, 1e-300, 3.0])
def test_a_float_of_a_spec_comes_back_as_the_same_float(
    api: httpx.Client, engine: Engine, number: float
) -> None:
    notes = r'1e+30 "2e+30" \ 3e+30'
    optimizer = {"name": "sgd", "lr": number}
    job = submit(api, optimizer=optimizer, notes=notes)
    for spec in (job["spec"], get(api, job["id"])["spec"], _claimed_spec(engine)):
        found = spec["optimizer"]["lr"]
        assert (type(found), found) == (float, number)
        assert spec["notes"] == notes


def _claimed_spec(engine: Engine) -> Json:
    crew = Crew(engine)
    return crew.claims[str(crew.claim())].spec


def test_a_parent_that_does_not_exist_is_refused(api: httpx.Client, engine: Engine) -> None:
    answer = api.post("/v1/jobs", json=spec_of(parent=str(new_id())))
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert answer.json()["errors"] == [{"loc": ["parent"], "msg": "there is no such job"}]
    assert stored(engine) == 0


def test_a_batch_is_made_in_its_order(api: httpx.Client) -> None:
    specs = [spec_of(name=f"job {number}") for number in range(100)]
    answer = api.post("/v1/jobs/batch", json={"items": specs})
    assert answer.status_code == httpx.codes.CREATED
    made = answer.json()["items"]
    assert [job["name"] for job in made] == [spec["name"] for spec in specs]
    assert [job["queue_position"] for job in made] == list(range(1, 101))


def test_a_batch_with_one_bad_spec_makes_nothing_and_names_each_mistake(
    api: httpx.Client, engine: Engine
) -> None:
    items = [spec_of(), spec_of(epochs=0), spec_of(), spec_of(batchsize=3)]
    answer = api.post("/v1/jobs/batch", json={"items": items})
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    places = [error["loc"] for error in answer.json()["errors"]]
    assert places == [["items", 1, "epochs"], ["items", 3, "batchsize"]]
    assert stored(engine) == 0


def test_a_batch_with_an_unknown_parent_names_the_item(api: httpx.Client) -> None:
    items = [spec_of(), spec_of(parent=str(new_id()))]
    answer = api.post("/v1/jobs/batch", json={"items": items})
    assert [error["loc"] for error in answer.json()["errors"]] == [["items", 1, "parent"]]


def test_a_batch_of_one_names_the_item_too(api: httpx.Client) -> None:
    answer = api.post("/v1/jobs/batch", json={"items": [spec_of(parent=str(new_id()))]})
    assert [error["loc"] for error in answer.json()["errors"]] == [["items", 0, "parent"]]


def test_a_batch_holds_1_to_100_specs_and_nothing_else(api: httpx.Client, engine: Engine) -> None:
    strange: list[tuple[Json | list[Json], list[str | int]]] = [
        ({"items": []}, ["items"]),
        ({"items": [spec_of()] * 101}, ["items"]),
        ({}, ["items"]),
        ({"items": {"0": spec_of()}}, ["items"]),
        ({"items": [spec_of()], "atomic": True}, ["atomic"]),
        ([spec_of()], []),
    ]
    for body, loc in strange:
        answer = api.post("/v1/jobs/batch", json=body)
        assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY, body
        assert answer.json()["errors"][0]["loc"] == loc
    assert stored(engine) == 0
