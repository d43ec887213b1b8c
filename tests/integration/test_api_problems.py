"""Every error of every route is a problem; the routes are taken from the OpenAPI document."""

from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest

from api.main import create_app
from api.routes.later import LATER
from foundation.ids import new_id
from foundation.settings import Settings
from tests.integration.test_api_bad_input import is_problem
from tests.serving import serving
from tests.submitted import Json, submit
from tests.versions import on_newest_postgres

pytestmark = on_newest_postgres

STRANGE_CURSORS = ("x", "AAAA", "%00", "é", "-1", "A" * 10_000)
STRANGE_LIMITS = ("-1", "0", "1000000000000000000000", "x", "", "1.5", "NaN")


class Operation(NamedTuple):
    method: str
    path: str
    parameters: frozenset[str]
    later: bool
    declared: frozenset[str]

    def at(self, job_id: object) -> str:
        return self.path.replace("{job_id}", str(job_id)).replace("{name}", "weights")


def operations() -> Iterator[Operation]:
    document = create_app(Settings()).openapi()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            names = frozenset(each["name"] for each in operation.get("parameters", ()))
            later = "later" in operation.get("tags", ())
            declared = frozenset(operation["responses"])
            yield Operation(method.upper(), path, names, later, declared)


ALL = list(operations())
OF_JOBS = [each for each in ALL if "{job_id}" in each.path and not each.later]
LISTS = [each for each in ALL if "cursor" in each.parameters]


def ask(api: httpx.Client, operation: Operation, job_id: object, **query: str) -> httpx.Response:
    body: Json | None = {"name": "x"} if operation.method == "PATCH" else None
    return api.request(operation.method, operation.at(job_id), json=body, params=query)


def test_there_are_routes_to_try() -> None:
    assert len(OF_JOBS) >= 12
    assert len(LISTS) >= 6
    assert len([each for each in ALL if each.later]) == len(LATER)


def test_an_unknown_job_is_missing_on_every_route(api: httpx.Client) -> None:
    for operation in OF_JOBS:
        answer = ask(api, operation, new_id())
        assert answer.status_code == httpx.codes.NOT_FOUND, operation
        assert is_problem(answer), operation
        assert answer.json()["type"] == "/problems/job-missing", operation


@pytest.mark.parametrize("strange", ["7", "latest", "' OR 1=1 --", "%00", "..%2f..", "é"])
def test_an_id_that_is_no_uuid_is_refused_on_every_route(api: httpx.Client, strange: str) -> None:
    for operation in OF_JOBS:
        answer = ask(api, operation, strange)
        # An encoded slash makes it another path, which is unknown.
        known = {httpx.codes.UNPROCESSABLE_ENTITY}
        if "%2f" in strange:
            known |= {httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED}
        assert answer.status_code in known, operation
        assert is_problem(answer), operation


def test_a_strange_limit_is_refused_on_every_list(api: httpx.Client) -> None:
    job_id = submit(api)["id"]
    for operation in LISTS:
        for limit in STRANGE_LIMITS:
            answer = ask(api, operation, job_id, limit=limit)
            assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY, (operation, limit)
            assert is_problem(answer)
            assert answer.json()["errors"][0]["loc"] == ["query", "limit"]


def test_a_cursor_made_up_is_refused_on_every_list(api: httpx.Client) -> None:
    job_id = submit(api)["id"]
    for operation in LISTS:
        if operation.path.endswith("/metrics/values"):
            # A page is of one metric, which this job does not have: test_api_metrics.py.
            continue
        for cursor in STRANGE_CURSORS:
            answer = ask(api, operation, job_id, cursor=cursor)
            assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY, (operation, cursor)
            assert is_problem(answer)
            assert answer.json()["errors"][0]["loc"] == ["query", "cursor"]


def test_a_parameter_that_no_route_knows_is_refused_with_the_nearest(api: httpx.Client) -> None:
    job_id = submit(api)["id"]
    for operation in ALL:
        if operation.later:
            continue
        answer = ask(api, operation, job_id, limitt="5")
        assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY, operation
        (error,) = answer.json()["errors"]
        assert error["loc"] == ["query", "limitt"]
        assert ("did you mean limit?" in error["msg"]) == ("limit" in operation.parameters)


def test_a_nul_in_a_parameter_is_refused_on_every_route(api: httpx.Client) -> None:
    job_id = submit(api)["id"]
    for operation in ALL:
        for name in operation.parameters - {"job_id", "name", "idempotency-key", "if-none-match"}:
            if operation.later or name in {"accept", "last-event-id"}:
                continue
            answer = ask(api, operation, job_id, **{name: "a\0b"})
            assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY, (operation, name)
            assert is_problem(answer)


def test_what_a_later_release_builds_says_so(api: httpx.Client) -> None:
    job_id = submit(api)["id"]
    for operation in ALL:
        if operation.later:
            answer = ask(api, operation, job_id, anything="x")
            assert answer.status_code == httpx.codes.NOT_IMPLEMENTED, operation
            assert is_problem(answer)


@pytest.mark.parametrize("path", ["/nothing", "/v1", "/v1/job", "/v1/%00"])
def test_an_unknown_path_is_a_problem(api: httpx.Client, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code == httpx.codes.NOT_FOUND
    assert is_problem(answer)


def test_a_method_that_a_path_does_not_have_names_those_that_it_has(api: httpx.Client) -> None:
    answer = api.put("/v1/jobs", json={})
    assert answer.status_code == httpx.codes.METHOD_NOT_ALLOWED
    assert is_problem(answer)
    assert "GET" in answer.headers["allow"] or "POST" in answer.headers["allow"]


def test_what_fails_inside_tells_nothing_of_the_inside(settings: Settings) -> None:
    app = create_app(settings)

    async def fail() -> None:
        raise RuntimeError("the secret is 42")

    app.add_api_route("/fail", fail)
    with serving(settings, app) as api:
        answer = api.get("/fail")
    assert answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR
    assert is_problem(answer)
    assert "42" not in answer.text
    assert "Traceback" not in answer.text


def test_every_answer_carries_the_headers_that_keep_browsers_safe(api: httpx.Client) -> None:
    for path in ("/v1/jobs", "/nothing", "/docs"):
        headers = api.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
