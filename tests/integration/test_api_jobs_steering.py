"""Cancel and stop."""

import hashlib
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import Engine, text

from models.domain.errors import FenceLost
from models.domain.lifecycle import Outcome, StopReason, Wish
from services.database import transaction
from tests.submitted import Crew, events_of, get, submit
from tests.written import make_rows


def post(api: httpx.Client, job_id: str, action: str) -> httpx.Response:
    return api.post(f"/v1/jobs/{job_id}/{action}")


def test_a_queued_job_is_cancelled_at_once(api: httpx.Client, engine: Engine) -> None:
    job_id = submit(api)["id"]
    answer = post(api, job_id, "cancel")
    job = answer.json()
    assert answer.status_code == httpx.codes.ACCEPTED
    assert (job["state"], job["stop_reason"]) == ("cancelled", "cancelled")
    assert (job["progress"]["phase"], job["wanted"]) == ("done", None)
    assert job["finished_at"] is not None
    assert job["book"]["loss_sha256"] == hashlib.sha256(b"").hexdigest()
    assert events_of(api, job_id)[-1]["data"] == {
        "from": "queued",
        "to": "cancelled",
        "stop_reason": "cancelled",
    }
    assert Crew(engine).claim() is None


def test_a_running_job_is_told_with_its_next_flush(api: httpx.Client, engine: Engine) -> None:
    job_id = submit(api)["id"]
    crew = Crew(engine)
    crew.claim()
    answer = post(api, job_id, "cancel")
    assert answer.status_code == httpx.codes.ACCEPTED
    assert (answer.json()["state"], answer.json()["wanted"]) == ("running", "cancel")
    assert crew.flush(job_id).wanted is Wish.CANCEL
    crew.end(job_id, Outcome.CANCELLED, StopReason.CANCELLED)
    assert get(api, job_id)["state"] == "cancelled"
    assert get(api, job_id)["wanted"] is None


def test_to_ask_twice_changes_nothing_and_cancel_outdoes_stop(
    api: httpx.Client, engine: Engine
) -> None:
    job_id = submit(api)["id"]
    crew = Crew(engine)
    crew.claim()
    wanted = []
    for action in ("stop", "stop", "cancel", "cancel", "stop"):
        answer = post(api, job_id, action)
        assert answer.status_code == httpx.codes.ACCEPTED
        wanted.append(answer.json()["wanted"])
    assert wanted == ["stop", "stop", "cancel", "cancel", "cancel"]


def test_to_ask_again_does_not_start_the_clock_anew(api: httpx.Client, engine: Engine) -> None:
    job_id = submit(api)["id"]
    Crew(engine).claim()
    moments = []
    for _ in range(2):
        post(api, job_id, "cancel")
        with transaction(engine) as connection:
            moments.append(connection.scalar(text("SELECT wanted_at FROM progress")))
    assert moments[0] == moments[1]


@pytest.mark.parametrize("action", ["cancel", "stop"])
def test_a_finished_job_says_what_it_is(api: httpx.Client, engine: Engine, action: str) -> None:
    job_id = submit(api)["id"]
    crew = Crew(engine)
    crew.claim()
    crew.end(job_id)
    answer = post(api, job_id, action)
    assert answer.status_code == httpx.codes.CONFLICT
    assert answer.json()["type"] == "/problems/move-forbidden"
    assert "succeeded" in answer.json()["detail"]


def test_a_queued_job_has_nothing_to_stop(api: httpx.Client) -> None:
    job_id = submit(api)["id"]
    answer = post(api, job_id, "stop")
    assert answer.status_code == httpx.codes.CONFLICT
    assert "queued" in answer.json()["detail"]
    assert get(api, job_id)["state"] == "queued"


def test_a_job_whose_lease_is_over_is_cancelled_by_the_api(
    api: httpx.Client, engine: Engine
) -> None:
    job_id = submit(api)["id"]
    crew = Crew(engine)
    crew.claim()
    crew.flush(job_id, rows=make_rows([1.5]))
    with transaction(engine) as connection:
        connection.execute(text("UPDATE progress SET lease_until = now() - interval '1 s'"))
    job = post(api, job_id, "cancel").json()
    assert (job["state"], job["stop_reason"]) == ("cancelled", "cancelled")
    assert (job["attempts"][0]["outcome"], job["attempts"][0]["last_iteration"]) == ("lost", 1)
    assert job["summary"]["final_loss"] == 1.5
    digest = hashlib.sha256(struct.pack("<d", 1.5)).hexdigest()
    assert (job["book"]["loss_sha256"], job["book"]["complete"]) == (digest, True)
    with pytest.raises(FenceLost):
        crew.flush(job_id)


def test_claim_and_cancel_race_and_one_of_them_has_the_job(
    api: httpx.Client, engine: Engine
) -> None:
    for _ in range(10):
        job_id = submit(api)["id"]
        crew = Crew(engine)
        begin = threading.Barrier(2)

        def claim(crew: Crew = crew, begin: threading.Barrier = begin) -> str | None:
            begin.wait()
            return crew.claim()

        def cancel(job_id: str = job_id, begin: threading.Barrier = begin) -> httpx.Response:
            begin.wait()
            return post(api, job_id, "cancel")

        with ThreadPoolExecutor(2) as two:
            claimed, cancelled = two.submit(claim), two.submit(cancel)
        assert cancelled.result().status_code == httpx.codes.ACCEPTED
        job = get(api, job_id)
        if claimed.result() is None:
            assert (job["state"], job["attempts"]) == ("cancelled", [])
        else:
            assert (job["state"], job["wanted"]) == ("running", "cancel")
            crew.end(job_id, Outcome.CANCELLED, StopReason.CANCELLED)


def test_an_end_and_a_cancel_race_and_the_job_is_finished_once(
    api: httpx.Client, engine: Engine
) -> None:
    for _ in range(10):
        job_id = submit(api)["id"]
        crew = Crew(engine)
        crew.claim()
        with ThreadPoolExecutor(2) as two:
            ended = two.submit(crew.end, job_id)
            cancelled = two.submit(post, api, job_id, "cancel")
        ended.result()
        assert cancelled.result().status_code in {httpx.codes.ACCEPTED, httpx.codes.CONFLICT}
        job = get(api, job_id)
        assert (job["state"], job["wanted"]) == ("succeeded", None)
        moves = [each for each in events_of(api, job_id) if each["type"] == "state"]
        assert [each["data"]["to"] for each in moves] == ["queued", "running", "succeeded"]


def test_a_row_that_somebody_holds_is_waited_for_a_second(
    api: httpx.Client, engine: Engine
) -> None:
    job_id = submit(api)["id"]
    with transaction(engine) as connection:
        connection.execute(text("SELECT 1 FROM jobs FOR UPDATE"))
        answer = post(api, job_id, "cancel")
    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert answer.json()["type"] == "/problems/busy"
    assert answer.headers["retry-after"] == "1"
    assert 0.9 < answer.elapsed.total_seconds() < 10
    assert post(api, job_id, "cancel").status_code == httpx.codes.ACCEPTED
