"""GET /v1/jobs/{id}."""

import math
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import Engine, text

from api.main import create_app
from foundation.settings import Settings
from models.domain.lifecycle import Outcome, Phase, StopReason
from services.database import transaction
from services.pages import Page
from tests.serving import serving
from tests.submitted import Crew, get, submit
from tests.versions import on_newest_postgres
from tests.waiting import wait_until
from tests.written import make_rows

LONG_SECONDS = 30


def wait_for(api: httpx.Client, job_id: str, etag: str) -> httpx.Response:
    """Wait, as a client of its own, until the job is not what the tag says."""
    with httpx.Client(base_url=api.base_url, timeout=2 * LONG_SECONDS) as client:
        return client.get(
            f"/v1/jobs/{job_id}?wait_seconds={LONG_SECONDS}", headers={"If-None-Match": etag}
        )


def test_a_running_job_tells_how_far_it_is(api: httpx.Client, engine: Engine) -> None:
    job_id = submit(api)["id"]
    crew = Crew(engine)
    assert crew.claim() == job_id
    rows = make_rows([2.0, 1.0, 0.5], batches_per_epoch=23)
    page = Page(rows=rows, phase=Phase.TRAIN, epoch=1, batch=3, iterations_per_second=10.0)
    crew.flush(job_id, page)
    job = get(api, job_id)
    assert job["state"] == "running"
    assert (job["waiting_for"], job["queue_position"]) == (None, None)
    assert job["progress"] == {
        "phase": "train",
        "epoch": 1,
        "batch": 3,
        "iteration": 3,
        "iterations_total": 46,
        "fraction": 0.0652,
        "iterations_per_second": 10.0,
        "eta_seconds": 4.3,
    }
    assert (job["latest"]["loss"], job["latest"]["lr"]) == (0.5, 0.001)
    assert (job["book"]["rows"], job["book"]["expected"]) == (3, 3)
    (attempt,) = job["attempts"]
    assert (attempt["number"], attempt["worker"], attempt["device"]) == (1, "crew", "cpu")
    assert attempt["outcome"] is None


def test_an_open_attempt_tells_how_far_it_is(api: httpx.Client, engine: Engine) -> None:
    job_id = submit(api)["id"]
    crew = Crew(engine)
    crew.claim()
    told = []
    for rows in (None, make_rows([2.0, 1.0, 0.5])):
        crew.flush(job_id, rows=rows)
        shown = [get(api, job_id), api.get("/v1/jobs?include=attempts").json()["items"][0]]
        with transaction(engine) as connection:
            viewed = connection.scalar(text("SELECT last_iteration FROM v_attempts"))
        told.append([*(job["attempts"][0]["last_iteration"] for job in shown), viewed])
    assert told == [[None, None, None], [3, 3, 3]]


def test_a_failed_job_tells_why(api: httpx.Client, engine: Engine) -> None:
    job_id = submit(api)["id"]
    crew = Crew(engine)
    crew.claim()
    error = {"type": "DatasetMissing", "message": "no such file", "traceback": "Traceback …"}
    crew.end(job_id, Outcome.ERROR, StopReason.ERROR, error)
    job = get(api, job_id)
    assert (job["state"], job["stop_reason"], job["error"]) == ("failed", "error", error)
    assert job["progress"]["eta_seconds"] is None
    assert job["attempts"][0]["outcome"] == "error"
    assert job["finished_at"] is not None


@pytest.mark.parametrize(
    ("loss", "word"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")]
)
def test_a_loss_that_is_no_number_is_a_word(
    api: httpx.Client, engine: Engine, loss: float, word: str
) -> None:
    job_id = submit(api)["id"]
    crew = Crew(engine)
    crew.claim()
    crew.flush(job_id, rows=make_rows([loss]))
    crew.end(job_id, Outcome.DIVERGED, StopReason.DIVERGED)
    job = get(api, job_id)
    assert job["latest"]["loss"] == word
    assert job["summary"]["final_loss"] == word


@pytest.mark.parametrize("loss", [0.1, 5e-324, 1.7976931348623157e308, 2 / 3, 1e-7])
def test_a_loss_comes_back_as_the_same_64_bits(
    api: httpx.Client, engine: Engine, loss: float
) -> None:
    job_id = submit(api)["id"]
    crew = Crew(engine)
    crew.claim()
    crew.flush(job_id, rows=make_rows([loss]))
    assert get(api, job_id)["latest"]["loss"].hex() == loss.hex()


def test_times_are_in_utc_whatever_the_server_thinks(settings: Settings, engine: Engine) -> None:
    with transaction(engine) as connection:
        name = connection.scalar(text("SELECT current_database()"))
        connection.execute(text(f"ALTER DATABASE \"{name}\" SET timezone = 'Asia/Tokyo'"))
    with serving(settings) as api:
        assert submit(api)["created_at"].endswith("Z")


def test_an_unchanged_job_is_answered_with_304(api: httpx.Client) -> None:
    path = f"/v1/jobs/{submit(api)['id']}"
    etag = api.get(path).headers["etag"]
    again = api.get(path, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (httpx.codes.NOT_MODIFIED, b"")
    assert again.headers["etag"] == etag
    api.patch(path, json={"name": "renamed"})
    changed = api.get(path, headers={"If-None-Match": etag})
    assert changed.status_code == httpx.codes.OK
    assert changed.headers["etag"] != etag


def test_one_who_waits_is_answered_when_the_state_changes(
    api: httpx.Client, engine: Engine
) -> None:
    job_id = submit(api)["id"]
    etag = api.get(f"/v1/jobs/{job_id}").headers["etag"]
    answers: list[httpx.Response] = []
    waiting = threading.Thread(target=lambda: answers.append(wait_for(api, job_id, etag)))
    waiting.start()
    # Whether the wait begins before or after this, it must not last its thirty seconds.
    Crew(engine).claim()
    waiting.join()
    assert answers[0].json()["state"] == "running"
    assert answers[0].elapsed.total_seconds() < LONG_SECONDS / 2


def test_one_who_waits_is_answered_when_the_epoch_changes(
    api: httpx.Client, engine: Engine
) -> None:
    job_id = submit(api)["id"]
    crew = Crew(engine)
    crew.claim()
    etag = api.get(f"/v1/jobs/{job_id}").headers["etag"]
    crew.flush(job_id, Page(epoch=1))
    # What the client has seen is over already: there is nothing to wait for.
    answer = wait_for(api, job_id, etag)
    assert answer.json()["progress"]["epoch"] == 1
    assert answer.elapsed.total_seconds() < LONG_SECONDS / 2


@on_newest_postgres
def test_one_who_waits_in_vain_is_answered_in_the_end(api: httpx.Client) -> None:
    path = f"/v1/jobs/{submit(api)['id']}"
    etag = api.get(path).headers["etag"]
    answer = api.get(f"{path}?wait_seconds=0.5", headers={"If-None-Match": etag})
    assert answer.status_code == httpx.codes.NOT_MODIFIED
    assert answer.elapsed.total_seconds() >= 0.5


@on_newest_postgres
def test_one_who_waits_for_a_finished_job_is_answered_at_once(
    api: httpx.Client, engine: Engine
) -> None:
    job_id = submit(api)["id"]
    crew = Crew(engine)
    crew.claim()
    crew.end(job_id)
    answer = api.get(f"/v1/jobs/{job_id}?wait_seconds={LONG_SECONDS}")
    assert answer.json()["state"] == "succeeded"
    assert answer.elapsed.total_seconds() < LONG_SECONDS / 2


def test_one_who_waits_for_a_job_that_is_deleted_is_told(api: httpx.Client, engine: Engine) -> None:
    job_id = submit(api)["id"]
    crew = Crew(engine)
    crew.claim()
    etag = api.get(f"/v1/jobs/{job_id}").headers["etag"]
    crew.end(job_id)
    api.delete(f"/v1/jobs/{job_id}").raise_for_status()
    assert wait_for(api, job_id, etag).status_code == httpx.codes.NOT_FOUND


@on_newest_postgres
def test_a_hundred_who_wait_keep_nobody_else_from_an_answer(
    api: httpx.Client, engine: Engine
) -> None:
    job_id = submit(api)["id"]
    etag = api.get(f"/v1/jobs/{job_id}").headers["etag"]
    with ThreadPoolExecutor(100) as clients:
        waiting = [clients.submit(wait_for, api, job_id, etag) for _ in range(100)]
        answered = api.get(f"/v1/jobs/{job_id}")
        Crew(engine).claim()
        states = [each.result().json()["state"] for each in waiting]
    assert answered.elapsed.total_seconds() < LONG_SECONDS / 2
    assert states == ["running"] * 100


@on_newest_postgres
def test_nobody_waits_for_a_client_that_has_gone(settings: Settings) -> None:
    app = create_app(settings)
    with serving(settings, app) as api:
        lookout = app.state.parts.lookout
        path = f"/v1/jobs/{submit(api)['id']}?wait_seconds={LONG_SECONDS}"
        with socket.create_connection((api.base_url.host, api.base_url.port or 80)) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            wait_until(lambda: lookout.waiting == 1, 10, "the client waits")
        wait_until(lambda: lookout.waiting == 0, 10, "its wait is given up")
