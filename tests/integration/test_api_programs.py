"""Programs over the API: their spec, their plan, and what a job that is one says."""

from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from models.domain.lifecycle import StopReason
from models.domain.offers import Offer
from models.domain.spec import JobSpec, ProgramSpec
from services.pages import Page
from tests.pretenders import make_rows
from tests.submitted import Crew, Json, get, submit

OFFERS = {"team": Offer("1.0", {"team.train": ("main",)})}


def program(**more: Any) -> Json:  # noqa: ANN401 - fields of a spec
    return {"program": {"entrypoint": "team.train:main", **more.pop("its", {})}, **more}


@pytest.fixture
def crew(engine: Engine) -> Crew:
    made = Crew(engine, offers=OFFERS)
    made.register()
    return made


def refusals(answer: httpx.Response) -> dict[tuple[str | int, ...], str]:
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY, answer.text
    return {tuple(each["loc"]): each["msg"] for each in answer.json()["errors"]}


@pytest.mark.usefixtures("crew")
def test_only_the_program_is_required_and_the_rest_is_filled_in(api: httpx.Client) -> None:
    job = api.post("/v1/jobs", json=program(name="mine")).json()
    assert job["spec"]["program"] == {
        "entrypoint": "team.train:main",
        "options": {},
        "iterations": None,
    }
    assert job["spec"]["checkpoint"] == {"every_seconds": 60.0, "keep": 2}
    assert "dataset" not in job["spec"]
    assert (job["name"], job["reproducible"], job["state"]) == ("mine", False, "queued")
    again = api.post("/v1/jobs", json=job["spec"]).json()
    assert again["spec_sha256"] == job["spec_sha256"]
    assert again["plan"]["same_as"] == [job["id"]]
    other = api.post("/v1/jobs", json=program(seed=1)).json()
    assert other["spec_sha256"] != job["spec_sha256"]


@pytest.mark.usefixtures("crew")
def test_a_spec_has_the_order_of_its_own_kind(api: httpx.Client) -> None:
    job_id = submit(api)["id"]
    its_id = api.post("/v1/jobs", json=program()).json()["id"]
    items = {each["id"]: each for each in api.get("/v1/jobs").json()["items"]}
    for each, kind in ((job_id, JobSpec), (its_id, ProgramSpec)):
        for job in (get(api, each), items[each]):
            assert list(job["spec"]) == list(kind.model_fields)


@pytest.mark.usefixtures("crew")
def test_a_plan_knows_what_the_spec_says_of_it(api: httpx.Client) -> None:
    plan = api.post("/v1/plan", json=program()).json()
    training = api.post(
        "/v1/plan", json={"dataset": {"name": "digits"}, "network": {"name": "mlp"}, "epochs": 1}
    ).json()
    assert set(plan) == set(training)
    assert {name for name, value in plan.items() if value not in (None, [])} == {"network"}
    plan = api.post("/v1/plan", json=program(its={"iterations": 96})).json()
    assert (plan["iterations_total"], plan["weight_updates"]) == (96, 96)


@pytest.mark.usefixtures("crew")
@pytest.mark.parametrize(
    ("spec", "loc", "word"),
    [
        (program(dataset={"name": "digits"}), ("dataset",), "a program brings its own"),
        (program(epochs=3), ("epochs",), "a program brings its own"),
        (program(seeds=3), ("seeds",), "did you mean seed?"),
        (program(its={"iterations": 0}), ("program", "iterations"), "greater than or equal to 1"),
        (program(its={"option": {}}), ("program", "option"), "did you mean options?"),
        ({"program": {}}, ("program", "entrypoint"), "is required"),
        ({"program": "team.train:main"}, ("program",), "an object is expected"),
        ({"program": {"entrypoint": "team.train"}}, ("program", "entrypoint"), "is expected"),
        ({"program": {"entrypoint": "team.train:mian"}}, ("program", "entrypoint"), "train:main?"),
        (program(checkpoint={"keep_best": True}), ("checkpoint", "keep_best"), "unknown field"),
    ],
)
def test_what_does_not_belong_is_refused_at_its_place(
    api: httpx.Client, spec: Json, loc: tuple[str, ...], word: str
) -> None:
    assert word in refusals(api.post("/v1/jobs", json=spec))[loc]


def test_its_progress_has_an_end_where_it_said_one(api: httpx.Client, crew: Crew) -> None:
    job_id = api.post("/v1/jobs", json=program()).json()["id"]
    assert crew.claim() == job_id
    crew.flush(job_id, rows=make_rows(1, 20))
    progress = get(api, job_id)["progress"]
    assert (progress["iteration"], progress["iterations_total"]) == (20, None)
    assert (progress["fraction"], progress["eta_seconds"]) == (None, None)
    crew.end(job_id, stop_reason=StopReason.RETURNED)
    job = get(api, job_id)
    assert (job["state"], job["stop_reason"], job["book"]["complete"]) == (
        "succeeded",
        "returned",
        True,
    )
    said = api.post("/v1/jobs", json=program(its={"iterations": 10})).json()["id"]
    assert crew.claim() == said
    crew.flush(said, rows=make_rows(1, 20))
    progress = get(api, said)["progress"]
    assert (progress["iterations_total"], progress["fraction"]) == (10, 1.0)
    crew.end(said, stop_reason=StopReason.RETURNED)


def test_a_search_says_of_its_progress_what_its_answer_says(api: httpx.Client, crew: Crew) -> None:
    for name, its in (("unknown", {}), ("over", {"iterations": 10})):
        job_id = api.post("/v1/jobs", json=program(name=name, its=its)).json()["id"]
        assert crew.claim() == job_id
        crew.flush(job_id, Page(rows=make_rows(1, 20), iterations_per_second=5.0))

    def found(text: str) -> list[str]:
        items = api.get("/v1/jobs", params={"filter": text}).raise_for_status().json()["items"]
        return [each["name"] for each in items]

    for name in ("fraction", "eta_seconds", "iterations_total"):
        assert found(f"progress.{name} = null") == ["unknown"]
    assert found("progress.fraction = 1 and progress.eta_seconds = 0") == ["over"]
    assert found("progress.fraction > 1 or progress.eta_seconds < 0") == []


def test_its_book_is_read_like_any_other(api: httpx.Client, crew: Crew) -> None:
    job_id = api.post("/v1/jobs", json=program()).json()["id"]
    crew.claim()
    crew.flush(job_id, rows=make_rows(1, 200))
    path = f"/v1/jobs/{job_id}"
    assert api.get(f"{path}/iterations", params={"limit": 5}).json()["total"] == 200
    curve = api.get(f"{path}/curve", params={"series": "grad_norm", "points": 20}).json()
    assert curve["rows"]
    layers = api.get(f"{path}/layers").json()
    assert (layers["every"], layers["columns"]["iteration"]) == (0, [])
    found = api.get("/v1/jobs", params={"filter": "spec.program.entrypoint = 'team.train:main'"})
    assert [each["id"] for each in found.json()["items"]] == [job_id]
    by_share = {"order_by": "-progress.fraction", "filter": "plan.iterations_total = null"}
    assert len(api.get("/v1/jobs", params=by_share).json()["items"]) == 1
    unknown = api.get("/v1/jobs", params={"filter": "spec.program.entrypiont = 'x'"})
    assert unknown.status_code == httpx.codes.BAD_REQUEST


def test_the_document_has_both_kinds_of_specs(api: httpx.Client) -> None:
    document = api.get("/openapi.json").json()
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    names = {each["$ref"].rpartition("/")[2] for each in body["schema"]["anyOf"]}
    assert names == {"JobSpec", "ProgramSpec"}
    assert names <= set(document["components"]["schemas"])
    assert "ProgramPlan" in document["components"]["schemas"]
