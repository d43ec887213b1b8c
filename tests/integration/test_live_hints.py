"""Hints: what has changed is told within moments, and what no hint tells within two seconds."""

import asyncio
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import Engine, event, text

from api import lookout
from api.ear import Ear
from api.main import create_app
from foundation.ids import new_id
from foundation.settings import Settings
from models.domain.lifecycle import Outcome, StopReason
from services.database import listening_url, make_engine, transaction
from services.deletion import delete_job
from services.endings import Ending, end_attempt
from services.hints import CHANNEL, Notifier, heard
from services.pages import Page
from tests.processes import worker_process
from tests.serving import serving
from tests.severed import severed_way
from tests.streamed import Stream, stream
from tests.submitted import Crew, get, submit
from tests.versions import on_newest_postgres
from tests.viewing import begin, drawn, ears, hint, losses, numbers, path_of, rows
from tests.waiting import wait_until

pytestmark = on_newest_postgres

FOREVER_SECONDS = 600.0


@pytest.fixture
def crew(engine: Engine) -> Crew:
    return Crew(engine)


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def api(settings: Settings, app: FastAPI) -> Iterator[httpx.Client]:
    with serving(settings, app) as client:
        yield client


@pytest.fixture
def only_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks without a hint."""
    monkeypatch.setattr(lookout, "LOOK_SECONDS", FOREVER_SECONDS)


def settled(live: Stream, engine: Engine) -> None:
    """Wait until the viewer knows what there is, and hints are heard."""
    live.until_kind("progress")
    wait_until(lambda: ears(engine), 10, "somebody listens")


@pytest.mark.usefixtures("only_hints")
def test_a_hint_brings_what_is_new(api: httpx.Client, engine: Engine, crew: Crew) -> None:
    job_id = begin(api, crew)
    with stream(api, path_of(job_id)) as live:
        settled(live, engine)
        crew.flush(job_id, rows=rows(1, 3))
        hint(engine, job_id)
        live.until_kind("points")
    assert drawn(live.all) == losses(1, 3)


@pytest.mark.usefixtures("only_hints")
@pytest.mark.parametrize(
    ("call", "body", "becomes"),
    [
        ("PATCH ", {"name": "renamed"}, "renamed"),
        ("POST /pause", None, "paused"),
        ("POST /cancel", None, "cancelled"),
    ],
)
def test_what_the_api_changes_is_hinted(
    api: httpx.Client, engine: Engine, call: str, body: object, becomes: str
) -> None:
    method, _, path = call.partition(" ")
    job_id = submit(api)["id"]
    with stream(api, path_of(job_id)) as live:
        settled(live, engine)
        answer = api.request(method, f"/v1/jobs/{job_id}{path}", json=body)
        answer.raise_for_status()
        assert live.next().data["data"]["to"] == becomes


@pytest.mark.usefixtures("only_hints")
def test_a_job_that_is_deleted_ends_its_streams(
    api: httpx.Client, engine: Engine, crew: Crew
) -> None:
    job_id = begin(api, crew)
    with stream(api, path_of(job_id)) as live:
        settled(live, engine)
        # At once: a look in between would find that it is finished.
        with transaction(engine) as connection:
            ending = Ending(Outcome.SUCCEEDED, StopReason.EPOCHS)
            end_attempt(connection, crew.owner(job_id), Page(), ending)
            delete_job(connection, UUID(job_id))
        hint(engine, job_id)
        rest = live.rest()
    assert [(each.kind, each.data["data"]) for each in rest] == [("bye", {"reason": "deleted"})]


@pytest.mark.usefixtures("only_hints")
def test_who_waits_for_a_job_is_told_by_a_hint(
    api: httpx.Client, engine: Engine, app: FastAPI
) -> None:
    job_id = submit(api)["id"]
    with ThreadPoolExecutor(1) as client:
        poll = client.submit(get, api, job_id, wait_seconds=25)
        wait_until(lambda: app.state.parts.lookout.waiting == 1, 10, "the poll waits")
        wait_until(lambda: ears(engine), 10, "somebody listens")
        began = time.monotonic()
        api.post(f"/v1/jobs/{job_id}/cancel").raise_for_status()
        assert poll.result()["state"] == "cancelled"
    assert time.monotonic() - began < 20


@pytest.mark.usefixtures("only_hints")
def test_a_session_that_listened_and_was_ended_is_found_again(
    api: httpx.Client, engine: Engine, crew: Crew
) -> None:
    job_id = begin(api, crew)
    with stream(api, path_of(job_id)) as live:
        settled(live, engine)
        (before,) = ears(engine)
        # What happens before the new session listens, it tells of as it begins.
        crew.flush(job_id, rows=rows(1, 3))
        with transaction(engine) as connection:
            connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": before})
        live.until_kind("points")
        (after,) = wait_until(lambda: ears(engine), 10, "somebody listens again")
        crew.flush(job_id, rows=rows(4, 6))
        hint(engine, job_id)
        live.until_kind("points")
    assert after != before
    assert drawn(live.all) == losses(1, 6)


def test_an_ear_whose_listener_fails_of_whatever_hears_again(
    settings: Settings, engine: Engine
) -> None:
    job, told = new_id(), list[Collection[UUID]]()

    def hear(jobs: Collection[UUID]) -> None:
        told.append(jobs)
        if len(told) == 1:
            raise RuntimeError("once")

    def heard_again() -> bool:
        hint(engine, str(job))
        return len(told) > 1

    async def listen() -> None:
        ear = Ear(listening_url(settings.database), hear, lambda: None)
        listening = asyncio.create_task(ear.listen())
        await asyncio.to_thread(wait_until, heard_again, 20, "it hears again")
        listening.cancel()

    asyncio.run(listen())
    assert told[1] == {job}


def test_what_no_hint_tells_of_a_look_brings(
    settings: Settings, engine: Engine, crew: Crew
) -> None:
    assert settings.database.url is not None
    with severed_way(settings.database.url.get_secret_value()) as way:
        way.shut()
        database = settings.database.model_copy(update={"direct_url": SecretStr(way.url)})
        with serving(settings.model_copy(update={"database": database})) as api:
            job_id = begin(api, crew)
            with stream(api, path_of(job_id)) as live:
                live.until_kind("progress")
                crew.flush(job_id, rows=rows(1, 3))
                live.until_kind("points")
                assert ears(engine) == []
                way.open()
                wait_until(lambda: ears(engine), 20, "somebody listens")


def test_one_session_listens_however_many_watch(
    api: httpx.Client, engine: Engine, crew: Crew
) -> None:
    jobs = [begin(api, crew) for _ in range(3)]
    with ExitStack() as viewers:
        for job_id in jobs * 2:
            settled(viewers.enter_context(stream(api, path_of(job_id))), engine)
        assert len(ears(engine)) == 1


@pytest.mark.usefixtures("only_hints")
def test_a_look_is_as_many_statements_for_thirty_viewers_as_for_one(
    api: httpx.Client, engine: Engine, crew: Crew, app: FastAPI
) -> None:
    job_id = begin(api, crew)
    looks: list[list[str]] = []

    def begin_look(_connection: object) -> None:
        looks.append([])

    def count(_c: object, _cursor: object, statement: str, *_: object) -> None:
        for look in looks[-1:]:
            look.append(statement)

    def statements(viewers: list[Stream], first: int) -> list[int]:
        """How many each look had that read the new rows."""
        looks.clear()
        crew.flush(job_id, rows=rows(first, first + 2))
        hint(engine, job_id)
        for viewer in viewers:
            viewer.until_kind("points")
        return [len(look) for look in looks if any("FROM iterations" in each for each in look)]

    with ExitStack() as watching:
        viewers = [watching.enter_context(stream(api, path_of(job_id)))]
        settled(viewers[0], engine)
        event.listen(app.state.parts.engine, "begin", begin_look)
        event.listen(app.state.parts.engine, "before_cursor_execute", count)
        alone = statements(viewers, 1)
        for _ in range(29):
            viewers.append(watching.enter_context(stream(api, path_of(job_id))))
            viewers[-1].until_kind("progress")
        assert statements(viewers, 4) == alone
    assert len(alone) == 1
    assert alone[0] <= 4


def test_nobody_looks_while_nobody_watches(
    api: httpx.Client, crew: Crew, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 0.01)
    job_id = begin(api, crew)
    looks: list[object] = []
    with stream(api, path_of(job_id)) as live:
        live.until_kind("progress")
        event.listen(app.state.parts.engine, "begin", looks.append)
        wait_until(lambda: len(looks) > 2, 10, "looks go on")
    wait_until(lambda: app.state.parts.lookout.idle, 10, "the looks end")
    looks.clear()
    assert get(api, job_id)["state"] == "running"
    assert len(looks) == 1


@pytest.mark.usefixtures("only_hints")
def test_a_real_worker_says_what_it_has_written(
    api: httpx.Client, settings: Settings, tmp_path: Path
) -> None:
    with worker_process(settings, tmp_path / "worker.log"):
        job_id = submit(api, epochs=3)["id"]
        with stream(api, path_of(job_id)) as live:
            live.rest()
    job = get(api, job_id)
    curve = api.get(f"/v1/jobs/{job_id}/curve").json()
    assert job["state"] == "succeeded"
    assert live.all[-1].data["data"] == {"reason": "finished"}
    assert numbers(live.all) == list(range(1, numbers(live.all)[-1] + 1))
    assert drawn(live.all) == dict(zip(curve["iteration"], curve["mean"], strict=True))


@pytest.fixture
def notifier(engine: Engine) -> Iterator[Notifier]:
    made = Notifier(engine, pause_seconds=0.2)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def listening(settings: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(listening_url(settings.database), autocommit=True) as connection:
        connection.execute(f"LISTEN {CHANNEL}")
        yield connection


def next_hint(listening: psycopg.Connection) -> set[UUID]:
    (notify,) = listening.notifies(timeout=20, stop_after=1)
    return heard(notify.payload)


def test_a_notifier_pauses_between_two_hints(
    notifier: Notifier, listening: psycopg.Connection
) -> None:
    times = []
    for _ in range(4):
        job = new_id()
        notifier.tell(job)
        assert next_hint(listening) == {job}
        times.append(time.monotonic())
    assert times[-1] - times[0] > 2 * 0.2


def test_a_notifier_tells_of_many_jobs_in_few_hints(
    notifier: Notifier, listening: psycopg.Connection
) -> None:
    notifier.tell(new_id())
    next_hint(listening)
    jobs = {new_id() for _ in range(500)}
    for job in jobs:
        notifier.tell(job)
    hints: list[set[UUID]] = []
    while set().union(*hints) != jobs:
        hints += (heard(each.payload) for each in listening.notifies(timeout=20, stop_after=1))
    assert len(hints) <= 5


def test_a_notifier_says_its_last_words_as_it_stops(
    engine: Engine, listening: psycopg.Connection
) -> None:
    notifier = Notifier(engine, pause_seconds=FOREVER_SECONDS)
    notifier.start()
    first, last = new_id(), new_id()
    notifier.tell(first)
    assert next_hint(listening) == {first}
    notifier.tell(last)
    notifier.stop()
    assert next_hint(listening) == {last}


def test_a_notifier_outlives_an_outage(settings: Settings, listening: psycopg.Connection) -> None:
    assert settings.database.url is not None
    with severed_way(settings.database.url.get_secret_value()) as way:
        database = settings.database.model_copy(update={"url": SecretStr(way.url)})
        notifier = Notifier(make_engine(database, application_name="tests"), pause_seconds=0.01)
        notifier.start()
        way.shut()
        notifier.tell(new_id())
        way.open()
        job = new_id()

        def told() -> bool:
            notifier.tell(job)
            return any(job in heard(n.payload) for n in listening.notifies(timeout=0.1))

        wait_until(told, 20, "it is told again")
        notifier.stop()
        notifier.engine.dispose()


def test_a_hint_of_strangers_is_passed_over() -> None:
    job = new_id()
    assert heard(f"x,,{job.hex},{job},{'g' * 32},{chr(0xFF11) * 32},-{'0' * 31}") == {job}
