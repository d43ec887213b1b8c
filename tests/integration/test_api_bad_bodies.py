"""What hostile bodies get: 413, 415 or 422, never a 500, and nothing stored."""

import gzip
import json
import socket
from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import Engine

from tests.integration.test_api_bad_input import is_problem, stored
from tests.submitted import spec_of, submit
from tests.versions import on_newest_postgres

pytestmark = on_newest_postgres

JSON = {"Content-Type": "application/json"}
LIMIT = 1_048_576
GOOD = json.dumps(spec_of()).encode()


def spec_with(fragment: bytes) -> bytes:
    """A spec that is in order but for what stands for its notes."""
    return GOOD[:-1] + b', "notes": ' + fragment + b"}"


BROKEN = {
    "nothing": b"",
    "white space": b"  \n",
    "half a spec": GOOD[:-5],
    "something after it": GOOD + b"{}",
    "single quotes": b"{'epochs': 1}",
    "a trailing comma": b'{"epochs": 1,}',
    "a comment": b'{"epochs": 1} // one',
    "NaN": spec_with(b"NaN"),
    "Infinity": spec_with(b"-Infinity"),
    "a number that is infinite": spec_with(b"1e999"),
    "a number of 5,000 digits": spec_with(b"9" * 5000),
    "10,000 brackets": b"[" * 10_000 + b"]" * 10_000,
    "10,000 open brackets": b"[" * 10_000,
    "10,000 objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "900 brackets": spec_with(b"[" * 900 + b"]" * 900),
    "200 brackets": spec_with(b"[" * 200 + b"]" * 200),
    "a name twice": GOOD[:-1] + b', "epochs": 5}',
    "a name twice, deep inside": spec_with(b'{"a": [{"b": 1, "b": 2}]}'),
    "a name twice that cannot be written": rb'{"\ud800": 1, "\ud800": 2}',
    "no UTF-8": spec_with(b'"\xff\xfe"'),
    "UTF-16": json.dumps(spec_of()).encode("utf-16"),
    "half a surrogate pair": spec_with(rb'"\ud800"'),
    "a NUL": spec_with(rb'"a\u0000b"'),
    "a raw NUL": spec_with(b'"a\0b"'),
    "a NUL in a name": GOOD[:-1] + rb', "no\u0000tes": ""}',
}


@pytest.mark.parametrize("path", ["/v1/plan", "/v1/jobs", "/v1/jobs/batch"])
def test_a_body_that_is_no_acceptable_json_is_refused(
    api: httpx.Client, engine: Engine, path: str
) -> None:
    for what, body in BROKEN.items():
        answer = api.post(path, content=body, headers=JSON)
        assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY, (what, answer.text)
        assert is_problem(answer), what
        assert answer.json()["errors"], what
    assert stored(engine) == 0


PLACED: dict[bytes, list[str | int]] = {
    b'"optimizer": {"name": "sgd", "lr": 1e999}': ["optimizer", "lr"],
    b'"optimizer": {"name": "sgd", "lr": NaN}': ["optimizer", "lr"],
    b'"seed": ' + b"1" + b"0" * 400: ["seed"],
    b'"seed": ' + b"9" * 5000: ["seed"],
    rb'"notes": "\ud800"': ["notes"],
    rb'"tags": {"a": "\udfff"}': ["tags", "a"],
    rb'"augment": [1, {"a": {"b": 1, "b": 2}}]': ["augment", 1, "a", "b"],
}


@pytest.mark.parametrize("fragment", PLACED)
def test_what_json_cannot_hold_is_refused_with_its_place(
    api: httpx.Client, fragment: bytes
) -> None:
    answer = api.post("/v1/plan", content=GOOD[:-1] + b", " + fragment + b"}", headers=JSON)
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert [each["loc"] for each in answer.json()["errors"]] == [PLACED[fragment]]


def test_a_refusal_of_a_whole_body_names_what_is_at_fault(api: httpx.Client) -> None:
    too_large = api.post("/v1/plan", content=padded(LIMIT + 1), headers=JSON)
    not_json = api.post("/v1/plan", content=GOOD, headers={"Content-Type": "text/plain"})
    packed = api.post(
        "/v1/plan", content=gzip.compress(GOOD), headers={**JSON, "Content-Encoding": "gzip"}
    )
    found = [answer.json()["errors"][0]["loc"] for answer in (too_large, not_json, packed)]
    assert found == [[], ["header", "content-type"], ["header", "content-encoding"]]


def test_a_patch_that_is_no_acceptable_json_is_refused(api: httpx.Client) -> None:
    path = f"/v1/jobs/{submit(api)['id']}"
    for what, body in BROKEN.items():
        answer = api.patch(path, content=body, headers=JSON)
        assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY, (what, answer.text)
        assert is_problem(answer), what


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/merge-patch+json",
        "application/jsonp",
        "application/json; charset=latin-1",
        "json",
        ";",
    ],
)
def test_a_body_of_another_type_is_refused(
    api: httpx.Client, engine: Engine, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = api.post("/v1/jobs", content=GOOD, headers=headers)
    assert answer.status_code == httpx.codes.UNSUPPORTED_MEDIA_TYPE
    assert is_problem(answer)
    assert "application/json" in answer.json()["detail"]
    assert stored(engine) == 0


def test_a_compressed_body_is_refused(api: httpx.Client) -> None:
    headers = {**JSON, "Content-Encoding": "gzip"}
    answer = api.post("/v1/plan", content=gzip.compress(GOOD), headers=headers)
    assert answer.status_code == httpx.codes.UNSUPPORTED_MEDIA_TYPE


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON", 'application/json; charset="UTF-8"'],
)
def test_json_by_any_spelling_of_its_name_is_taken(api: httpx.Client, content_type: str) -> None:
    answer = api.post("/v1/plan", content=GOOD, headers={"Content-Type": content_type})
    assert answer.status_code == httpx.codes.OK


def padded(length: int) -> bytes:
    return GOOD + b" " * (length - len(GOOD))


def in_pieces(body: bytes) -> Iterator[bytes]:
    yield from (body[start : start + 65_536] for start in range(0, len(body), 65_536))


def test_a_body_may_be_as_long_as_the_limit(api: httpx.Client) -> None:
    for body in (padded(LIMIT), in_pieces(padded(LIMIT))):
        answer = api.post("/v1/plan", content=body, headers=JSON)
        assert answer.status_code == httpx.codes.OK


@pytest.mark.parametrize("length", [LIMIT + 1, 2 * LIMIT, 20 * LIMIT])
def test_a_longer_one_is_refused_whether_or_not_it_says_its_length(
    api: httpx.Client, engine: Engine, length: int
) -> None:
    # One that is far too long may see its connection closed while it still sends.
    far_too_long = length > 8 * LIMIT
    for body in (padded(length), in_pieces(padded(length))):
        try:
            answer = api.post("/v1/jobs", content=body, headers=JSON)
        except httpx.TransportError:
            assert far_too_long
            continue
        assert answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE
        assert is_problem(answer)
    assert stored(engine) == 0


@pytest.mark.parametrize("declared", [b"999999999999", b"99999999999999999999999", b"-1", b"x"])
def test_a_length_that_is_a_lie_does_no_harm(
    api: httpx.Client, engine: Engine, declared: bytes
) -> None:
    with socket.create_connection((api.base_url.host, api.base_url.port or 80), 10) as client:
        client.sendall(
            b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: " + declared + b"\r\n\r\n"
        )
        status = client.recv(12)
    assert status in {b"HTTP/1.1 413", b"HTTP/1.1 400"}
    assert api.get("/v1/jobs").status_code == httpx.codes.OK
    assert stored(engine) == 0


def test_a_body_that_never_ends_is_given_up_when_its_client_goes(api: httpx.Client) -> None:
    with socket.create_connection((api.base_url.host, api.base_url.port or 80), 10) as client:
        client.sendall(
            b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000\r\n\r\n{"
        )
    assert api.get("/v1/jobs").status_code == httpx.codes.OK
