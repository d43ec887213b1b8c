"""Viewers that are many, slow, gone or at rest cost the others nothing."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Connection, Engine, text

from api import lookout
from api.connections import Connections
from api.leaving import Leaving
from api.lookout import Lookout
from api.main import create_app
from api.routes import events
from api.telling import JobSeen, Look, Seen, look
from api.viewers import Viewer
from foundation.settings import Settings
from services import following, points
from services.archive import Archives
from services.database import listening_url, transaction
from services.following import Mark
from services.lifecycle import Happening, add_events
from services.pages import LogLine, Page
from tests.processes import api_to_signal
from tests.serving import serving
from tests.streamed import Heard, stream
from tests.submitted import Crew
from tests.versions import on_newest_postgres
from tests.viewing import begin, drawn, hint, losses, numbers, path_of, rows
from tests.waiting import wait_until

pytestmark = on_newest_postgres

LINE = "x" * 4_000
SOON_SECONDS = 5.0


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


@contextlib.contextmanager
def who_reads_nothing(api: httpx.Client, path: str) -> Iterator[socket.socket]:
    """Ask for a stream, and take none of it; the kernel keeps little for such a one."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect((api.base_url.host, api.base_url.port or 80))
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
        client.sendall(head.encode())
        yield client


def viewers(app: FastAPI) -> int:
    found: int = app.state.parts.lookout.viewers
    return found


def test_who_takes_nothing_is_dropped_and_nobody_else_waits(
    api: httpx.Client, app: FastAPI, engine: Engine, crew: Crew
) -> None:
    job_id = begin(api, crew)
    path = f"{path_of(job_id)}?logs=true"
    with who_reads_nothing(api, path), stream(api, path_of(job_id), logs="true") as live:
        wait_until(lambda: viewers(app) == 2, 10, "both watch")
        written = 0
        # The kernel's buffers take some megabytes before anybody has to wait.
        while viewers(app) == 2:
            assert written < 200 * 50 * len(LINE), "it is never dropped"
            crew.flush(job_id, Page(logs=[LogLine("stdout", LINE)] * 50))
            written += 50
            hint(engine, job_id)
            for _ in range(50):
                live.until_kind("log")
        crew.end(job_id)
        assert live.rest()[-1].kind == "bye"
    lines = [each.data["data"]["line"] for each in live.all if each.kind == "log"]
    assert lines == list(range(1, written + 1))


def test_a_job_whose_book_is_broken_blinds_nobody_else(
    api: httpx.Client, engine: Engine, crew: Crew
) -> None:
    broken, sound = begin(api, crew), begin(api, crew)
    with stream(api, path_of(broken)) as its, stream(api, path_of(sound)) as other:
        for live in (its, other):
            live.until_kind("progress")
        with transaction(engine) as connection:
            happening = Happening("warning", None, {})
            add_events(connection, crew.owner(broken).job_key, [happening])
            # An event's data is an object.
            connection.execute(text("UPDATE events SET data = '[]' WHERE type = 'warning'"))
        crew.flush(sound, rows=rows(1, 3))
        hint(engine, broken, sound)
        assert its.rest() == []
        other.until_kind("points")


async def until_progress(viewer: Viewer) -> list[Heard]:
    """Take what a viewer is told until it has caught up."""
    taken = b""
    async with asyncio.timeout(20):
        while b"event: progress" not in taken:
            taken += await viewer.take(20)
    heard = []
    for block in taken.split(b"\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.decode().split("\n"))
        heard.append(Heard(fields["event"], json.loads(fields["data"]), fields["id"]))
    return heard


def test_viewers_who_have_all_seen_something_else_are_told_in_turns(
    engine: Engine,
    settings: Settings,
    api: httpx.Client,
    crew: Crew,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many they are, a look is for few of them, and reads little for each."""
    job_id = begin(api, crew)
    crew.flush(job_id, Page(rows=rows(1, 30), logs=[LogLine("stdout", str(n)) for n in range(9)]))
    marks = [Mark(1, 0, seen, seen) for seen in range(7)]
    asked: list[int] = []

    def watched(
        connection: Connection,
        jobs: Collection[UUID],
        seen: Collection[Seen],
        archives: Archives,
        *,
        files: bool,
        statement_seconds: float | None,
    ) -> Look:
        asked.append(len(seen))
        return look(
            connection, jobs, seen, archives, files=files, statement_seconds=statement_seconds
        )

    monkeypatch.setattr(lookout, "look", watched)
    monkeypatch.setattr(lookout, "MOST_GROUPS", 3)
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 600.0)
    monkeypatch.setattr(following, "MOST_ROWS", 3)
    monkeypatch.setattr(points, "MOST_ROWS", 30)

    async def catch_up() -> list[list[Heard]]:
        leaving = Leaving()
        out = Lookout(
            Connections(engine, turns=1),
            leaving,
            listening_url(settings.database),
            99,
            Archives(""),
        )
        with ExitStack() as watching:
            all_of_them = [
                watching.enter_context(out.watching(JobSeen(UUID(job_id), mark))) for mark in marks
            ]
            heard = await asyncio.gather(*map(until_progress, all_of_them))
        leaving.begin()
        await out.close()
        return heard

    for seen, heard in enumerate(asyncio.run(catch_up())):
        lines = [each.data["data"]["line"] for each in heard if each.kind == "log"]
        assert lines == list(range(seen + 1, 10))
        assert drawn(heard, losses(1, seen)) == losses(1, 30)
    assert max(asked) == 3


def test_who_left_is_forgotten(api: httpx.Client, app: FastAPI, crew: Crew) -> None:
    job_id = begin(api, crew)
    with ExitStack() as clients:
        for _ in range(5):
            live = clients.enter_context(stream(api, path_of(job_id)))
            live.until_kind("progress")
        assert viewers(app) == 5
    wait_until(lambda: viewers(app) == 0, 10, "nobody watches")
    wait_until(lambda: app.state.parts.lookout.idle, 10, "nobody looks")


def test_as_many_watch_as_may_and_the_next_is_told_to_come_again(
    settings: Settings, crew: Crew
) -> None:
    few = settings.model_copy(update={"api": settings.api.model_copy(update={"viewers": 2})})
    with serving(few) as api:
        job_id = begin(api, crew)
        with stream(api, path_of(job_id)) as one:
            with stream(api, path_of(job_id)):
                one.until_kind("progress")
                for path in (path_of(job_id), "/v1/events"):
                    late = api.get(path, headers={"Accept": "text/event-stream"})
                    assert late.status_code == httpx.codes.SERVICE_UNAVAILABLE
                    assert late.json()["type"] == "/problems/streams-full"
                    assert "retry-after" in late.headers
                assert api.get(path_of(job_id)).status_code == httpx.codes.OK

            def admitted() -> bool:
                headers = {"Accept": "text/event-stream"}
                with api.stream("GET", path_of(job_id), headers=headers) as answer:
                    return answer.status_code == httpx.codes.OK

            wait_until(admitted, 10, "there is room again")


def test_a_quiet_stream_shows_that_it_lives(
    api: httpx.Client, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)
    job_id = begin(api, crew)
    with stream(api, path_of(job_id)) as live:
        live.until_kind("progress")

        def beats() -> bool:
            assert live.says_nothing_for(0.1)
            return live.comments > 5

        wait_until(beats, 10, "heartbeats")
        crew.flush(job_id, rows=rows(1, 3))
        live.until_kind("points")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_process_that_leaves_says_good_bye_and_its_viewers_go_on_elsewhere(
    settings: Settings, crew: Crew, tmp_path: Path, workers: str
) -> None:
    log = tmp_path / "api.log"
    with api_to_signal(settings, log, "--workers", workers) as (process, api):
        job_id = begin(api, crew)
        crew.flush(job_id, rows=rows(1, 4))
        with stream(api, path_of(job_id)) as first:
            first.until_kind("progress")
            process.terminate()
            rest = first.rest()
        process.wait(SOON_SECONDS)
    assert [(each.kind, each.data["data"]) for each in rest] == [("bye", {"reason": "leaving"})]
    assert (process.returncode, "Traceback" in log.read_text()) == (0, False)
    crew.flush(job_id, rows=rows(5, 9))
    with api_to_signal(settings, log) as (_, api):
        with stream(api, path_of(job_id), last_id=first.last_id) as second:
            second.until_kind("points")
            crew.end(job_id)
            second.rest()
        listed = api.get(path_of(job_id)).json()["items"]
    assert numbers(first.all + second.all) == [event["id"] for event in listed]
    assert drawn(first.all + second.all) == losses(1, 9)


def test_who_takes_no_good_bye_holds_no_process_up(
    settings: Settings, crew: Crew, tmp_path: Path
) -> None:
    log = tmp_path / "api.log"
    with api_to_signal(settings, log) as (process, api):
        job_id = begin(api, crew)
        for _ in range(6):
            crew.flush(job_id, Page(logs=[LogLine("stdout", LINE)] * 500))
        with who_reads_nothing(api, f"{path_of(job_id)}?logs=true") as client:
            # Once the first bytes are there, the rest fills every buffer.
            client.recv(1, socket.MSG_PEEK)
            process.terminate()
            process.wait(10.0)
    assert process.returncode == 0
