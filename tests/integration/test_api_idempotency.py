"""Idempotency-Key: a POST that is sent again makes nothing new."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from sqlalchemy import Engine, func, select, text

from api.connections import PATIENCE_SECONDS
from foundation.ids import new_id
from foundation.settings import Settings
from models.tables import idempotency_keys, jobs
from services.broker import make_celery, tickets_waiting
from services.database import transaction
from services.idempotency import LOCK_TIMEOUT, KeyedRequest, request_sha256, submit_once
from services.submission import draft_job
from tests.integration.test_api_bad_input import is_problem
from tests.integration.test_api_jobs_deleting import _somebody_waits
from tests.integration.test_api_transactions import refuse_commits
from tests.processes import api_process
from tests.submitted import Crew, Json, spec_of
from tests.versions import on_newest_postgres
from tests.waiting import wait_until

PATH = "/v1/jobs"
BATCH = "/v1/jobs/batch"
# What `post(api, spec_of())` is to a service.
IN_HAND = KeyedRequest("once", request_sha256(PATH, spec_of()))


class Stored(NamedTuple):
    jobs: int
    keys: int


def stored(engine: Engine) -> Stored:
    with transaction(engine) as connection:
        counts = (
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (jobs, idempotency_keys)
        )
        return Stored(*counts)


def post(
    api: httpx.Client, body: object, key: str = "once", path: str = PATH, **headers: str
) -> httpx.Response:
    return api.post(path, json=body, headers={"Idempotency-Key": key, **headers})


def made(answer: httpx.Response) -> Json:
    assert answer.status_code == httpx.codes.CREATED, answer.text
    return dict(answer.json())


def replayed(answer: httpx.Response) -> bool:
    return "true" in answer.headers.get_list("idempotency-replayed")


def refused(answer: httpx.Response) -> tuple[int, str]:
    assert is_problem(answer)
    return answer.status_code, answer.json()["type"]


def test_a_post_sent_again_is_answered_with_the_job_as_it_is_now(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    first = post(api, spec_of())
    job = made(first)
    assert not replayed(first)
    Crew(engine).claim()
    again = post(api, spec_of())
    assert replayed(again)
    assert again.headers["location"] == first.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (made(again)["id"], made(again)["state"]) == (job["id"], "running")
    assert stored(engine) == (1, 1)
    app = make_celery(settings.broker)
    wait_until(lambda: tickets_waiting(app, "default") == 1, 5, "the one ticket is published")
    app.close()


def test_another_key_makes_another_job(api: httpx.Client, engine: Engine) -> None:
    ids = {made(post(api, spec_of(), key))["id"] for key in ("one", "two", "ONE")}
    assert len(ids) == 3
    assert stored(engine) == (3, 3)


def test_without_a_key_every_post_makes_a_job(api: httpx.Client, engine: Engine) -> None:
    ids = {made(api.post(PATH, json=spec_of()))["id"] for _ in range(2)}
    assert len(ids) == 2
    assert stored(engine) == (2, 0)


@on_newest_postgres
def test_a_body_is_the_same_however_its_json_is_written(api: httpx.Client) -> None:
    spec = spec_of(name="é", optimizer={"name": "sgd", "lr": 1000.0})
    job = made(post(api, spec))
    for written in (
        json.dumps(spec, indent=3, sort_keys=True),
        json.dumps(dict(reversed(spec.items())), ensure_ascii=False),
        json.dumps(spec).replace("1000.0", "1e3"),
    ):
        headers = {"Idempotency-Key": "once", "Content-Type": "application/json"}
        again = api.post(PATH, content=written.encode(), headers=headers)
        assert made(again)["id"] == job["id"]
        assert replayed(again)


def test_another_body_or_another_route_is_refused(api: httpx.Client, engine: Engine) -> None:
    made(post(api, spec_of()))
    # A default that is written out asks for the same training, but not in the same words.
    bodies = (spec_of(epochs=3), spec_of(name="x"), spec_of(batch_size=64))
    for body in bodies:
        answer = post(api, body)
        assert refused(answer) == (422, "/problems/key-reused")
        assert answer.json()["errors"][0]["loc"] == ["header", "idempotency-key"]
    batch = {"items": [spec_of()]}
    assert refused(post(api, batch, path=BATCH)) == (422, "/problems/key-reused")
    assert stored(engine) == (1, 1)


def test_a_batch_sent_again_is_answered_with_its_jobs_in_their_order(
    api: httpx.Client, engine: Engine
) -> None:
    batch = {"items": [spec_of(name=f"job {number}") for number in range(100)]}
    first = post(api, batch, path=BATCH)
    again = post(api, batch, path=BATCH)
    assert (replayed(first), replayed(again)) == (False, True)
    assert [job["name"] for job in made(again)["items"]] == [s["name"] for s in batch["items"]]
    assert made(again) == made(first)
    assert refused(post(api, spec_of(name="job 0"))) == (422, "/problems/key-reused")
    assert stored(engine) == (100, 1)


def delete(api: httpx.Client, job_id: str) -> None:
    api.post(f"/v1/jobs/{job_id}/cancel").raise_for_status()
    api.delete(f"/v1/jobs/{job_id}").raise_for_status()


def test_after_its_jobs_deletion_a_key_makes_nothing_any_more(
    api: httpx.Client, engine: Engine
) -> None:
    delete(api, made(post(api, spec_of()))["id"])
    for _ in range(2):
        assert refused(post(api, spec_of())) == (410, "/problems/jobs-deleted")
    assert refused(post(api, spec_of(epochs=3))) == (422, "/problems/key-reused")
    assert stored(engine) == (0, 1)


def test_after_the_deletion_of_any_of_a_batch_its_key_makes_nothing_any_more(
    api: httpx.Client, engine: Engine
) -> None:
    batch = {"items": [spec_of()] * 3}
    delete(api, made(post(api, batch, path=BATCH))["items"][1]["id"])
    assert refused(post(api, batch, path=BATCH)) == (410, "/problems/jobs-deleted")
    assert stored(engine) == (2, 1)


def test_a_refused_spec_leaves_its_key_free(api: httpx.Client, engine: Engine) -> None:
    orphan = spec_of(parent=str(new_id()))
    # The first is refused before the database is asked, the others by what is in it.
    for body, path in (
        (spec_of(epochs=0), PATH),
        (orphan, PATH),
        ({"items": [spec_of(), orphan]}, BATCH),
    ):
        assert refused(post(api, body, path=path)) == (422, "/problems/spec-invalid")
    assert stored(engine) == (0, 0)
    assert not replayed(post(api, spec_of()))
    assert stored(engine) == (1, 1)


def test_a_commit_that_fails_leaves_the_key_free(api: httpx.Client, engine: Engine) -> None:
    refuse_commits(engine)
    assert post(api, spec_of(), Connection="close").status_code == 500
    assert stored(engine) == (0, 0)
    with transaction(engine) as connection:
        connection.execute(text("DROP TRIGGER refuse ON jobs"))
    assert not replayed(post(api, spec_of()))
    assert stored(engine) == (1, 1)


def odd_keys() -> Sequence[list[bytes]]:
    """Values of the header, the same header twice among them."""
    return ([b""], [b"k" * 256], [b"k" * 10_000], ["schlüssel".encode()], [b"a\tb"], [b"a", b"a"])


@on_newest_postgres
@pytest.mark.parametrize("values", odd_keys(), ids=lambda values: repr(values)[:20])
@pytest.mark.parametrize("path", [PATH, BATCH])
def test_an_odd_key_is_refused_in_words(
    api: httpx.Client, engine: Engine, path: str, values: list[bytes]
) -> None:
    body = {"items": [spec_of()]} if path == BATCH else spec_of()
    answer = api.post(path, json=body, headers=[(b"Idempotency-Key", each) for each in values])
    assert refused(answer) == (422, "/problems/query-invalid")
    (error,) = answer.json()["errors"]
    assert error["loc"] == ["header", "idempotency-key"]
    assert error["msg"]
    assert stored(engine) == (0, 0)


@on_newest_postgres
@pytest.mark.parametrize(
    "key", ["k", "k" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "'; DROP TABLE jobs; --"]
)
def test_any_other_key_is_taken_as_it_is(api: httpx.Client, key: str) -> None:
    first, again = (post(api, spec_of(), key) for _ in range(2))
    assert made(again)["id"] == made(first)["id"]
    assert replayed(again)


def test_of_many_at_once_one_makes_the_job_and_all_are_answered_with_it(
    api: httpx.Client, engine: Engine
) -> None:
    rounds, clients = 25, 6
    with ThreadPoolExecutor(clients) as threads:
        for number in range(rounds):
            key = f"round {number}"
            answers = [threads.submit(post, api, spec_of(), key) for _ in range(clients)]
            found = [each.result() for each in answers]
            assert len({made(answer)["id"] for answer in found}) == 1
            assert sorted(map(replayed, found)) == [False] + [True] * (clients - 1)
    assert stored(engine) == (rounds, rounds)


def test_the_second_of_two_waits_for_the_firsts_commit(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    draft = draft_job(spec_of(), settings.limits)
    with ThreadPoolExecutor(1) as other:
        with transaction(engine) as connection:
            (job,) = submit_once(connection, [draft], IN_HAND).jobs
            second = other.submit(post, api, spec_of())
            wait_until(lambda: _somebody_waits(engine), 10, "the second waits")
        answer = second.result()
    assert made(answer)["id"] == str(job.id)
    assert replayed(answer)


def test_the_second_of_two_makes_the_job_where_the_first_is_rolled_back(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    draft = draft_job(spec_of(), settings.limits)
    with ThreadPoolExecutor(1) as other:
        with engine.connect() as connection:
            submit_once(connection, [draft], IN_HAND)
            second = other.submit(post, api, spec_of())
            wait_until(lambda: _somebody_waits(engine), 10, "the second waits")
            connection.rollback()
        assert not replayed(second.result())
    assert stored(engine) == (1, 1)


@on_newest_postgres
def test_nobody_waits_for_ever_for_a_key(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    draft = draft_job(spec_of(), settings.limits)
    with engine.connect() as connection:
        submit_once(connection, [draft], IN_HAND)
        answer = post(api, spec_of())
        connection.rollback()
    assert refused(answer) == (503, "/problems/busy")
    assert "retry-after" in answer.headers
    assert answer.elapsed.total_seconds() < float(LOCK_TIMEOUT.rstrip("s")) + PATIENCE_SECONDS
    assert not replayed(post(api, spec_of()))


@on_newest_postgres
def test_a_key_survives_the_api_that_took_it(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    with api_process(settings, tmp_path / "first.log") as api:
        job = made(post(api, spec_of()))
    with api_process(settings, tmp_path / "second.log") as api:
        again = post(api, spec_of())
        assert (made(again)["id"], replayed(again)) == (job["id"], True)
        assert refused(post(api, spec_of(epochs=3))) == (422, "/problems/key-reused")
    assert stored(engine) == (1, 1)
