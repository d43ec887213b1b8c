"""What the terminal's client makes of answers, of problems, and of silence."""

import hashlib
import struct

import pytest

from cli.client import Client
from cli.errors import AddressInvalid, ServiceAway, ServiceRefused, ServiceStrange
from cli.verification import BookWrong, verify_book
from tests.processes import free_port
from tests.unit.answering import a_job, answering, as_json, problem


def test_where_nothing_answers_the_cure_is_named() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url) as client, pytest.raises(ServiceAway) as away:
        client.job("x")
    assert str(away.value).startswith(f"nothing answers at {url}")
    assert "is `gradbook up` running?" in str(away.value)


@pytest.mark.parametrize(
    "url", ["http://[", "foo", "no address", "ftp://127.0.0.1", "http://", "http://127.0.0.1:99999"]
)
def test_an_address_that_is_none_is_told_as_such(url: str) -> None:
    with pytest.raises(AddressInvalid, match="is no address"), Client(url) as client:
        client.job("x")


def test_a_problem_is_shown_with_each_place() -> None:
    refusal = problem(
        422,
        title="The spec is invalid",
        detail="two rules are broken",
        errors=[
            {"loc": ["network", "layers", 3], "msg": "conv4 wants 3 dimensions"},
            {"loc": [], "msg": "no epochs"},
        ],
    )
    with (
        answering(lambda *_: refusal) as url,
        Client(url) as client,
        pytest.raises(ServiceRefused) as refused,
    ):
        client.submit({})
    assert refused.value.status == 422
    assert str(refused.value) == (
        "The spec is invalid\n  network.layers.3: conv4 wants 3 dimensions\n  no epochs"
    )


def test_what_is_not_built_yet_is_told_so() -> None:
    refusal = problem(501, title="Not Implemented", detail="pause is not built yet")
    with (
        answering(lambda *_: refusal) as url,
        Client(url) as client,
        pytest.raises(ServiceRefused, match="this release cannot do that yet: pause"),
    ):
        client.ask("x", "pause")


@pytest.mark.parametrize(
    "body", [b"", b"<html>Bad Gateway</html>", b"[1]", b'{"detail": "Not Found"}']
)
def test_an_error_that_is_no_problem_still_has_its_status(body: bytes) -> None:
    with (
        answering(lambda *_: (502, "text/html", body)) as url,
        Client(url) as client,
        pytest.raises(ServiceRefused, match="HTTP 502"),
    ):
        client.job("x")


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>hello</html>"), (404, b"not here")])
def test_another_server_is_not_taken_for_a_gradbook(status: int, body: bytes) -> None:
    with answering(lambda *_: (status, "text/html", body)) as url, Client(url) as client:
        with pytest.raises(ServiceStrange) as strange:
            client.job("x")
        assert str(strange.value).startswith(f"{url} answers HTTP {status}")
        assert "is this Gradbook?" in str(strange.value)


def test_an_id_cannot_lead_to_another_path() -> None:
    asked = []

    def answer(method: str, path: str) -> tuple[int, str, bytes]:
        asked.append((method, path))
        return as_json(a_job())

    with answering(answer) as url, Client(url) as client:
        client.ask("../datasets?x=1#", "cancel")
    assert asked == [("POST", "/v1/jobs/..%2Fdatasets%3Fx%3D1%23/cancel")]


LOSSES: list[float | str] = [2.5, "NaN", "Infinity", "-Infinity", 0.1, 3]
LOSS_SHA256 = hashlib.sha256(struct.pack("<6d", *map(float, LOSSES))).hexdigest()


def _book(iterations: list[int], expected: int, loss_sha256: str | None) -> list[tuple[bool, str]]:
    """Verify a job whose rows come in pages of two."""

    def answer(_method: str, path: str) -> tuple[int, str, bytes]:
        start = int(path.partition("cursor=")[2] or 0)
        numbers = iterations[start : start + 2]
        columns = {"iteration": numbers, "loss": LOSSES[start : start + 2]}
        after = start + 2
        cursor = str(after) if after < len(iterations) else None
        return as_json({"columns": columns, "total": len(iterations), "next_cursor": cursor})

    book = {
        "rows": len(iterations),
        "expected": expected,
        "complete": True,
        "loss_sha256": loss_sha256,
        "weights_sha256": None,
    }
    job = a_job(state="succeeded", book=book)
    with answering(answer) as url, Client(url) as client:
        return [(check.right, check.text) for check in verify_book(client, job)]


def test_a_right_book_is_found_right_to_the_bit() -> None:
    assert _book([1, 2, 3, 4, 5, 6], 6, LOSS_SHA256) == [
        (True, "rows: 1 to 6, each once"),
        (True, f"loss_sha256: {LOSS_SHA256} of 6 losses"),
    ]


@pytest.mark.parametrize(
    ("iterations", "expected", "told"),
    [
        ([1, 2, 3, 4, 5, 6], 7, "rows: 6 are there, 7 should be"),
        ([1, 2, 4, 5, 6, 7], 6, "rows: 6 of 6, wrong from 3"),
        ([1, 2, 2, 3, 4, 5], 6, "rows: 6 of 6, wrong from 3"),
        ([2, 3, 4, 5, 6, 7], 6, "rows: 6 of 6, wrong from 1"),
    ],
)
def test_a_missing_or_doubled_row_is_found(iterations: list[int], expected: int, told: str) -> None:
    assert _book(iterations, expected, LOSS_SHA256)[0] == (False, told)


def test_another_loss_than_the_booked_ones_is_found() -> None:
    right, told = _book([1, 2, 3, 4, 5, 6], 6, "f" * 64)[1]
    assert not right
    assert told.startswith(f"loss_sha256: the book says {'f' * 64}, it is {LOSS_SHA256}")


def test_a_book_that_ended_without_a_hash_is_wrong() -> None:
    right, told = _book([1, 2, 3, 4, 5, 6], 6, None)[1]
    assert not right
    assert told.startswith("loss_sha256: none in the book")


def test_a_book_that_is_still_written_is_not_judged() -> None:
    with (
        Client("http://127.0.0.1:1") as client,
        pytest.raises(BookWrong, match="still being written"),
    ):
        next(verify_book(client, a_job()))
