"""PATCH /v1/jobs/{id}."""

import httpx
import pytest
from sqlalchemy import Engine, text

from services.database import transaction
from tests.submitted import Crew, Json, events_of, get, submit
from tests.versions import on_newest_postgres


def patch(api: httpx.Client, job_id: str, body: object, **headers: str) -> httpx.Response:
    return api.patch(f"/v1/jobs/{job_id}", json=body, headers=headers)


def test_name_notes_tags_and_priority_change_with_an_event_each(api: httpx.Client) -> None:
    job_id = submit(api, name="old", tags={"kept": "1", "gone": "2"})["id"]
    change = {"name": "new", "notes": "n", "tags": {"gone": None, "more": "3"}, "priority": 7}
    answer = patch(api, job_id, change)
    job = answer.json()
    assert answer.status_code == httpx.codes.OK
    assert (job["name"], job["notes"], job["priority"]) == ("new", "n", 7)
    assert job["tags"] == {"kept": "1", "more": "3"}
    edits = [each["data"] for each in events_of(api, job_id) if each["type"] == "edited"]
    assert [edit["field"] for edit in edits] == ["name", "notes", "tags", "priority"]
    assert edits[0] == {"field": "name", "from": "old", "to": "new"}
    assert get(api, job_id) == job


def test_the_spec_posted_again_makes_the_job_as_it_is_now(
    api: httpx.Client, engine: Engine
) -> None:
    before = submit(api, name="old", tags={"a": "b"})
    change = {"name": "new", "notes": "n", "tags": {"c": "d"}, "priority": 7}
    after = patch(api, before["id"], change).json()
    assert after["spec"] == before["spec"] | change | {"tags": {"a": "b", "c": "d"}}
    assert after["spec_sha256"] == before["spec_sha256"]
    again = api.post("/v1/jobs", json=after["spec"]).json()
    assert all(again[name] == after[name] for name in change)
    with transaction(engine) as connection:
        found = text("SELECT spec ->> 'name' FROM v_jobs ORDER BY job LIMIT 1")
        assert connection.scalar(found) == "new"


def test_null_gives_the_default_again(api: httpx.Client) -> None:
    job_id = submit(api, name="n", notes="n", tags={"a": "b"}, priority=3)["id"]
    nothing = {"name": None, "notes": None, "tags": None, "priority": None}
    job = patch(api, job_id, nothing).json()
    assert (job["name"], job["notes"], job["tags"], job["priority"]) == ("", "", {}, 0)


def test_a_patch_that_changes_nothing_makes_no_event(api: httpx.Client) -> None:
    job_id = submit(api, name="same")["id"]
    for body in ({}, {"name": "same"}, {"tags": {"none": None}}):
        assert patch(api, job_id, body).status_code == httpx.codes.OK
    assert len(events_of(api, job_id)) == 1


@on_newest_postgres
def test_the_media_type_of_merge_patches_is_taken(api: httpx.Client) -> None:
    job_id = submit(api)["id"]
    answer = patch(api, job_id, {"name": "a"}, **{"Content-Type": "application/merge-patch+json"})
    assert answer.json()["name"] == "a"


def test_a_finished_job_changes_all_but_its_priority(api: httpx.Client, engine: Engine) -> None:
    job_id = submit(api)["id"]
    crew = Crew(engine)
    crew.claim()
    for state in ("running", "succeeded"):
        answer = patch(api, job_id, {"priority": 1, "name": "no"})
        assert answer.status_code == httpx.codes.CONFLICT
        assert state in answer.json()["detail"]
        assert get(api, job_id)["name"] != "no"
        assert patch(api, job_id, {"name": state, "priority": 0}).json()["name"] == state
        if state == "running":
            crew.end(job_id)


def test_a_higher_priority_is_claimed_first(api: httpx.Client, engine: Engine) -> None:
    submit(api)
    later = submit(api)["id"]
    patch(api, later, {"priority": 1})
    assert Crew(engine).claim() == later


@on_newest_postgres
@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"nam": "x"}, ["nam"]),
        ({"epochs": 3}, ["epochs"]),
        ({"name": 3}, ["name"]),
        ({"name": "x" * 201}, ["name"]),
        ({"name": "a\0b"}, ["name"]),
        ({"notes": "x" * 10_001}, ["notes"]),
        ({"tags": {"a": 1}}, ["tags", "a"]),
        ({"tags": {str(n): "" for n in range(65)}}, ["tags"]),
        ({"tags": ["a"]}, ["tags"]),
        ({"priority": 101}, ["priority"]),
        ({"priority": True}, ["priority"]),
        ({"priority": 1.5}, ["priority"]),
        (["name"], []),
    ],
)
def test_a_bad_patch_is_refused_with_its_place_and_changes_nothing(
    api: httpx.Client, body: Json, loc: list[str]
) -> None:
    before = submit(api)
    answer = patch(api, before["id"], body)
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert answer.json()["errors"][0]["loc"] == loc
    assert get(api, before["id"]) == before
