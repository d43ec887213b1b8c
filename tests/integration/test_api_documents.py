"""The OpenAPI document, and the pages for people."""

import json
import re
from collections.abc import Iterator

import httpx
import pytest

from api.main import create_app
from api.problems import PROBLEMS
from foundation.settings import Settings
from tests.submitted import Json
from tests.versions import on_newest_postgres

pytestmark = on_newest_postgres

PROBLEM = {"$ref": "#/components/schemas/Problem"}


@pytest.fixture(scope="module")
def document() -> Json:
    return create_app(Settings()).openapi()


def operations(document: Json) -> Iterator[tuple[str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_every_operation_has_a_name_of_its_own_that_a_person_can_read(document: Json) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))
    for name in names:
        assert re.fullmatch(r"[a-z]+(_[a-z]+){0,3}", name), name


def test_every_operation_declares_its_problems(document: Json) -> None:
    for what, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status == "default" or status in {"404", "409", "422", "501"}:
                content = answer["content"]["application/problem+json"]
                assert content["schema"] == PROBLEM, (what, status)
        assert "default" in operation["responses"], what


def either(*names: str) -> Json:
    return {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in names]}


def test_what_is_sent_and_what_is_answered_is_described(document: Json) -> None:
    submit = document["paths"]["/v1/jobs"]["post"]
    body = submit["requestBody"]["content"]["application/json"]["schema"]
    assert body == either("JobSpec", "ProgramSpec")
    job = document["components"]["schemas"]["Job"]["properties"]
    assert job["spec"] == either("JobSpec", "ProgramSpec")
    assert job["plan"] == either("Plan", "ProgramPlan")
    merge = document["paths"]["/v1/jobs/{job_id}"]["patch"]["requestBody"]["content"]
    assert set(merge) == {"application/json", "application/merge-patch+json"}


def test_every_reference_leads_somewhere(document: Json) -> None:
    schemas = document["components"]["schemas"]
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)):
        assert name in schemas
    assert "HTTPValidationError" not in schemas


def test_problems_that_differ_have_types_that_differ() -> None:
    titles: dict[str, set[str]] = {}
    for kind in PROBLEMS.values():
        assert re.fullmatch(r"/problems/[a-z-]+", kind.type)
        titles.setdefault(kind.type, set()).add(kind.title)
    assert all(len(words) == 1 for words in titles.values()), titles


def test_the_root_leads_to_the_documents(api: httpx.Client) -> None:
    answer = api.get("/", follow_redirects=True)
    assert answer.status_code == httpx.codes.OK
    assert answer.url.path == "/docs"
    assert "/openapi.json" in answer.text
    assert api.get("/openapi.json").json()["info"]["title"] == "Gradbook"


def test_the_docs_page_loads_nothing_from_another_host(api: httpx.Client) -> None:
    page = api.get("/docs").text
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sources
    for source in sources:
        assert source.startswith("/"), source
        assert api.get(source).status_code == httpx.codes.OK, source
