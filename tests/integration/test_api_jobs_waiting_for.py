"""What a queued job says it waits for."""

from datetime import timedelta

import httpx
from sqlalchemy import Engine, text, update

from models.tables import workers
from services.database import transaction
from services.fleet import FRESH_SECONDS
from services.queueing import MOST_COUNTED
from services.reconciling import queues_in_need
from tests.submitted import Crew, get, submit


def test_with_no_worker_a_job_says_so(api: httpx.Client) -> None:
    waiting = submit(api)["waiting_for"]
    assert waiting["reason"] == "no_worker"
    assert f"{FRESH_SECONDS} s" in waiting["detail"]


def test_a_worker_that_tickets_do_not_count_on_is_none(api: httpx.Client, engine: Engine) -> None:
    Crew(engine).register()
    job_id = submit(api)["id"]
    for aged, reason in ((FRESH_SECONDS - 2, "turn"), (4, "no_worker")):
        with transaction(engine) as connection:
            older = workers.c.last_seen - timedelta(seconds=aged)
            connection.execute(update(workers).values(last_seen=older))
        assert get(api, job_id)["waiting_for"]["reason"] == reason
        with transaction(engine) as connection:
            assert bool(queues_in_need(connection)) == (reason == "turn")


def test_a_worker_of_another_queue_is_none(api: httpx.Client, engine: Engine) -> None:
    Crew(engine, queue="other").register()
    assert submit(api)["waiting_for"]["reason"] == "no_worker"
    assert submit(api, queue="other")["waiting_for"]["reason"] == "turn"


def test_a_job_that_needs_another_device_says_so(api: httpx.Client, engine: Engine) -> None:
    Crew(engine, device="cuda:1").register()
    assert submit(api, device="cuda:1")["waiting_for"]["reason"] == "turn"
    assert submit(api, device="cpu")["waiting_for"]["reason"] == "turn"
    waiting = submit(api, device="cuda:0")["waiting_for"]
    assert waiting["reason"] == "device"
    assert "cuda:1" in waiting["detail"]


def test_the_queue_is_by_priority_and_then_by_age(api: httpx.Client, engine: Engine) -> None:
    Crew(engine).register()
    first = submit(api)["id"]
    second = submit(api)["id"]
    urgent = submit(api, priority=5)["id"]
    elsewhere = submit(api, queue="other")["id"]
    last = submit(api, priority=-1)["id"]
    ids = (first, second, urgent, elsewhere, last)
    # One by one they are counted, and so many in a list are numbered.
    assert len(ids) > MOST_COUNTED
    places = {each: get(api, each)["queue_position"] for each in ids}
    assert places == {urgent: 1, first: 2, second: 3, last: 4, elsewhere: 1}
    listed = {job["id"]: job["queue_position"] for job in api.get("/v1/jobs").json()["items"]}
    assert listed == places
    assert get(api, second)["waiting_for"]["detail"] == "2 jobs are before it"
    assert Crew(engine).claim() == urgent
    assert get(api, first)["waiting_for"]["detail"] == "it is next; every slot is busy"


def test_a_job_that_is_tried_again_says_when(api: httpx.Client, engine: Engine) -> None:
    Crew(engine).register()
    job_id = submit(api)["id"]
    with transaction(engine) as connection:
        connection.execute(text("UPDATE jobs SET not_before = now() + interval '40 s'"))
    assert get(api, job_id)["waiting_for"]["detail"].startswith("it is tried again in ")
