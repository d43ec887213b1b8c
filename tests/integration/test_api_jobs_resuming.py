"""Pause, resume and retry over HTTP: what each does in every state, and who wins a race."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from models.domain.lifecycle import Outcome, StopReason
from services.database import transaction
from tests.submitted import Crew, Json, events_of, get, submit
from tests.versions import on_newest_postgres
from tests.written import make_rows

pytestmark = on_newest_postgres

ACCEPTED, CONFLICT = httpx.codes.ACCEPTED, httpx.codes.CONFLICT


def post(api: httpx.Client, job_id: str, action: str) -> httpx.Response:
    return api.post(f"/v1/jobs/{job_id}/{action}")


def states_of(api: httpx.Client, job_id: str) -> list[str]:
    return [each["data"]["to"] for each in events_of(api, job_id) if each["type"] == "state"]


def bring_to(api: httpx.Client, engine: Engine, state: str) -> str:
    """A job in that state; "diverged" is failed, too."""
    job_id: str = submit(api)["id"]
    crew = Crew(engine)
    if state == "paused":
        post(api, job_id, "pause")
    elif state == "cancelled":
        post(api, job_id, "cancel")
    elif state != "queued":
        crew.claim()
    endings = {
        "succeeded": (Outcome.SUCCEEDED, StopReason.EPOCHS),
        "failed": (Outcome.ERROR, StopReason.ERROR),
        "diverged": (Outcome.DIVERGED, StopReason.DIVERGED),
    }
    if state in endings:
        outcome, reason = endings[state]
        error = {"type": "E", "message": "m", "traceback": None} if state != "succeeded" else None
        crew.end(job_id, outcome, reason, error)
    return job_id


LEGAL = {
    ("pause", "queued"),
    ("pause", "running"),
    ("resume", "paused"),
    ("retry", "failed"),
    ("retry", "cancelled"),
    ("cancel", "queued"),
    ("cancel", "running"),
    ("cancel", "paused"),
    ("stop", "running"),
}
STATES = ("queued", "running", "paused", "succeeded", "failed", "cancelled", "diverged")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("action", ["pause", "resume", "retry", "cancel", "stop"])
def test_each_action_is_done_or_refused_with_the_states_name(
    api: httpx.Client, engine: Engine, action: str, state: str
) -> None:
    job_id = bring_to(api, engine, state)
    before = get(api, job_id)
    answer = post(api, job_id, action)
    if (action, state) in LEGAL:
        assert answer.status_code == ACCEPTED
        assert answer.json()["id"] == job_id
        return
    assert answer.status_code == CONFLICT
    diverged = (action, state) == ("retry", "diverged")
    assert answer.json()["type"] == f"/problems/{'retry-futile' if diverged else 'move-forbidden'}"
    named = "failed" if state == "diverged" else state
    assert named in answer.json()["detail"]
    assert ("diverged" in answer.json()["detail"]) == diverged
    after = get(api, job_id)
    assert {**after, "progress": None} == {**before, "progress": None}


def test_a_job_that_is_not_there_can_t_be_paused(api: httpx.Client) -> None:
    for action in ("pause", "resume", "retry"):
        answer = post(api, "01a20a19-ee73-766c-939d-0707f8a8aac7", action)
        assert answer.status_code == httpx.codes.NOT_FOUND


def test_a_queued_job_that_is_paused_is_not_claimed_until_it_is_resumed(
    api: httpx.Client, engine: Engine
) -> None:
    job_id = submit(api)["id"]
    job = post(api, job_id, "pause").json()
    assert (job["state"], job["waiting_for"], job["wanted"]) == ("paused", None, None)
    crew = Crew(engine)
    assert crew.claim() is None
    assert post(api, job_id, "resume").json()["state"] == "queued"
    assert crew.claim() == job_id
    assert states_of(api, job_id) == ["queued", "paused", "queued", "running"]


def test_a_running_job_is_paused_once_its_attempt_has_left_off(
    api: httpx.Client, engine: Engine
) -> None:
    job_id = submit(api)["id"]
    crew = Crew(engine)
    crew.claim()
    crew.flush(job_id, rows=make_rows([1.5]))
    job = post(api, job_id, "pause").json()
    assert (job["state"], job["wanted"]) == ("running", "pause")
    assert crew.flush(job_id).wanted == "pause"
    crew.leave_off(job_id, Outcome.PAUSED)
    job = get(api, job_id)
    assert (job["state"], job["wanted"], job["finished_at"]) == ("paused", None, None)
    assert job["attempts"][0]["outcome"] == "paused"
    assert job["book"] == {
        "rows": 1,
        "expected": 1,
        "complete": True,
        "loss_sha256": None,
        "weights_sha256": None,
        "archived_at": None,
    }
    post(api, job_id, "resume")
    assert crew.claim() == job_id
    assert crew.claims[job_id].attempt == 2


@pytest.mark.parametrize(
    ("wishes", "state"),
    [
        (("pause", "stop"), "stop"),
        (("stop", "pause"), "stop"),
        (("pause", "cancel"), "cancel"),
        (("cancel", "pause"), "cancel"),
    ],
)
def test_the_stronger_wish_stays(
    api: httpx.Client, engine: Engine, wishes: tuple[str, str], state: str
) -> None:
    job_id = submit(api)["id"]
    Crew(engine).claim()
    answers = [post(api, job_id, wish) for wish in wishes]
    assert [answer.status_code for answer in answers] == [ACCEPTED, ACCEPTED]
    assert answers[-1].json()["wanted"] == state


def test_a_retry_clears_what_the_failure_left_and_counts_anew(
    api: httpx.Client, engine: Engine
) -> None:
    job_id = bring_to(api, engine, "failed")
    with transaction(engine) as connection:
        connection.execute(text("UPDATE jobs SET failures = 3"))
    failed = get(api, job_id)
    assert failed["error"]["message"] == failed["attempts"][0]["error"]["message"] == "m"
    job = post(api, job_id, "retry").json()
    assert (job["state"], job["stop_reason"], job["error"]) == ("queued", None, None)
    assert (job["finished_at"], job["book"]["loss_sha256"]) == (None, None)
    assert job["progress"]["phase"] == "queued"
    assert job["attempts"][0]["error"]["message"] == "m"
    with transaction(engine) as connection:
        assert connection.scalar(text("SELECT failures FROM jobs")) == 0


def test_a_job_that_waits_before_it_is_tried_again_says_so_and_can_be_paused(
    api: httpx.Client, engine: Engine
) -> None:
    job_id = submit(api)["id"]
    crew = Crew(engine)
    crew.register()
    crew.claim()
    crew.leave_off(job_id, Outcome.KILLED)
    job = get(api, job_id)
    assert job["state"] == "queued"
    assert job["waiting_for"]["reason"] == "turn"
    assert "tried again in" in job["waiting_for"]["detail"]
    assert crew.claim() is None
    # Who resumes it by hand does not want to wait.
    post(api, job_id, "pause")
    post(api, job_id, "resume")
    assert crew.claim() == job_id


def race(*works: Callable[[], Any]) -> list[Any]:
    begin = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> Any:  # noqa: ANN401 - what the work says
        begin.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as threads:
        return [future.result() for future in [threads.submit(run, work) for work in works]]


def test_two_who_resume_at_once_put_the_job_into_the_queue_once(
    api: httpx.Client, engine: Engine
) -> None:
    for _ in range(10):
        job_id = bring_to(api, engine, "paused")
        answers = race(*[partial(post, api, job_id, "resume")] * 2)
        codes = sorted(answer.status_code for answer in answers)
        assert codes == [ACCEPTED, CONFLICT]
        assert states_of(api, job_id) == ["queued", "paused", "queued"]
        post(api, job_id, "cancel")


def test_a_pause_and_a_claim_race_and_no_job_is_both(api: httpx.Client, engine: Engine) -> None:
    for _ in range(10):
        job_id = submit(api)["id"]
        crew = Crew(engine)
        race(crew.claim, partial(post, api, job_id, "pause"))
        job: Json = get(api, job_id)
        if crew.claims:
            assert (job["state"], job["wanted"]) == ("running", "pause")
            crew.leave_off(job_id, Outcome.PAUSED)
        assert get(api, job_id)["state"] == "paused"
        post(api, job_id, "cancel")
