"""Cursors and ids of events that a stranger made up, with a right checksum: refused, and no fault.

The checksum is public, so anybody can make them.
"""

import base64
import string

import httpx
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from services import cursors
from tests.submitted import Crew
from tests.versions import on_newest_postgres
from tests.viewing import begin, go_back, rows

pytestmark = on_newest_postgres

JOBS = (
    "/v1/jobs",
    "/v1/jobs?order_by=name",
    "/v1/jobs?order_by=-started_at",
    "/v1/jobs?order_by=summary.best_loss",
    "/v1/jobs?order_by=spec.optimizer",
    "/v1/jobs?order_by=tags.team",
    "/v1/jobs?order_by=id",
    "/v1/jobs?group_by=spec.batch_size",
    "/v1/events",
    "/v1/projects",
)
OF_A_JOB = ("iterations", "epochs", "layers", "events", "logs")
ODD_NUMBERS = st.sampled_from([-(2**63), -1, 0, 1, 2**63 - 1, 2**63, 2**64 - 1]) | st.floats(
    allow_nan=False, allow_infinity=False
)
ODD_TEXTS = st.sampled_from(
    ["", "x", "-1", "1e9", "\0", "9" * 30, "nan", "infinity", "0001-01-01T00:00:00+14:00"]
) | st.text(string.printable, max_size=9)
SCALARS = st.none() | st.booleans() | ODD_NUMBERS | ODD_TEXTS
PAYLOADS = st.lists(SCALARS, max_size=4) | st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
BODIES = PAYLOADS.map(orjson.dumps) | st.binary(max_size=40)


def cursor_of(name: str, body: bytes) -> str:
    """Make a cursor of the named list, whatever it holds."""
    raw = cursors._checksum(name, body) + body
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the lists that cursors are read for: they are no secret either."""
    names: list[str] = []
    checksum = cursors._checksum

    def listen(name: str, body: bytes) -> bytes:
        names.append(name)
        return checksum(name, body)

    monkeypatch.setattr(cursors, "_checksum", listen)
    return names


@pytest.fixture
def paths(api: httpx.Client, engine: Engine) -> list[str]:
    crew = Crew(engine)
    job = begin(api, crew)
    crew.flush(job, rows=rows(1, 3))
    go_back(crew, job, 2)
    return [*JOBS, *(f"/v1/jobs/{job}/{page}" for page in OF_A_JOB)]


def ask(api: httpx.Client, path: str, cursor: str) -> httpx.Response:
    return api.get(path, params=dict(httpx.URL(path).params) | {"cursor": cursor})


def name_of(api: httpx.Client, path: str, asked: list[str]) -> str:
    """Find out the list's name by a cursor that is refused."""
    asked.clear()
    refused = ask(api, path, cursor_of("no list", b"0"))
    assert refused.json()["type"] == "/problems/cursor-invalid"
    return asked[-1]


@pytest.mark.parametrize("body", [b"{", b"", b"\xff", b"[" * 2_000, b"nul", b"[1,]"], ids=repr)
def test_what_is_no_json_is_refused_as_any_bad_cursor(
    api: httpx.Client, paths: list[str], asked: list[str], body: bytes
) -> None:
    for path in paths:
        answer = ask(api, path, cursor_of(name_of(api, path, asked), body))
        found = (answer.status_code, answer.json()["type"])
        assert found == (httpx.codes.UNPROCESSABLE_ENTITY, "/problems/cursor-invalid"), path


def test_no_cursor_is_a_fault_of_the_service(
    api: httpx.Client, paths: list[str], asked: list[str]
) -> None:
    names = [(path, name_of(api, path, asked)) for path in paths]

    @settings(max_examples=600, deadline=None)
    @given(st.sampled_from(names), BODIES)
    def ask_for_it(page: tuple[str, str], body: bytes) -> None:
        path, name = page
        answer = ask(api, path, cursor_of(name, body))
        assert answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR, (path, body, answer.text)

    ask_for_it()


def test_no_id_of_a_stream_is_a_fault_of_the_service(api: httpx.Client, paths: list[str]) -> None:
    job = paths[-1].split("/")[3]
    names = [
        (f"/v1/jobs/{job}/events", cursors.list_name("live", "job", job)),
        ("/v1/events", cursors.list_name("live", "project", None)),
    ]

    @settings(max_examples=200, deadline=None)
    @example(names[0], b"{")
    @example(names[1], b"{")
    @given(st.sampled_from(names), BODIES)
    def ask_for_it(stream: tuple[str, str], body: bytes) -> None:
        path, name = stream
        headers = {"Accept": "text/event-stream", "Last-Event-ID": cursor_of(name, body)}
        with api.stream("GET", path, headers=headers) as answer:
            assert answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR, (path, body)

    ask_for_it()
