"""What is slow to read holds up nobody but who waits for it: it is looked for apart."""

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from psycopg import sql
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from api import apart, lookout
from api.telling import Look, Seen, Topic, look
from foundation.settings import Settings
from services.archive import Archives
from services.pages import LogLine, Page
from tests.archived import archiver, booked_file, close, write_run
from tests.serving import serving
from tests.streamed import stream
from tests.submitted import Crew
from tests.versions import on_newest_postgres
from tests.viewing import begin, drawn, ears, hint, losses, path_of, rows
from tests.waiting import wait_until

pytestmark = on_newest_postgres


@pytest.fixture
def crew(engine: Engine) -> Crew:
    return Crew(engine)


def slow_to_read(engine: Engine, key: int, seconds: float) -> None:
    """Let each of the lines of one job take so long."""
    lines = sql.SQL(
        "CREATE VIEW logs AS SELECT * FROM all_logs"
        " WHERE CASE job_key WHEN {} THEN pg_sleep({}) IS NOT NULL ELSE true END"
    ).format(key, seconds)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE logs RENAME TO all_logs"))
        connection.execute(text(lines.as_string()))


def quick_to_read(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP VIEW logs"))
        connection.execute(text("ALTER TABLE all_logs RENAME TO logs"))


def test_a_job_that_takes_too_long_to_read_holds_nobody_else_up_and_is_told_later(
    settings: Settings, engine: Engine, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 600.0)
    monkeypatch.setattr(lookout, "STATEMENT_SECONDS", 0.2)
    database = settings.database.model_copy(update={"statement_timeout_seconds": 1})
    with serving(settings.model_copy(update={"database": database})) as api:
        slow, sound = begin(api, crew), begin(api, crew)
        with (
            stream(api, path_of(slow), logs="true") as its,
            stream(api, path_of(sound), logs="true") as other,
        ):
            for live in (its, other):
                live.until_kind("progress")
            wait_until(lambda: ears(engine), 10, "somebody listens")
            for job_id in (slow, sound):
                crew.flush(job_id, Page(logs=[LogLine("stdout", "a line")]))
            slow_to_read(engine, crew.owner(slow).job_key, 60)
            hint(engine, slow, sound)
            assert other.until_kind("log").data["data"]["text"] == "a line"
            # It is set apart by now, however often it is tried again.
            for line in ("another", "a third"):
                crew.flush(sound, Page(logs=[LogLine("stdout", line)]))
                hint(engine, slow, sound)
                assert other.until_kind("log").data["data"]["text"] == line
            quick_to_read(engine)
            assert its.until_kind("log").data["data"]["text"] == "a line"
            crew.flush(slow, Page(logs=[LogLine("stdout", "its next")]))
            hint(engine, slow)
            assert its.until_kind("log").data["data"]["text"] == "its next"


def test_what_takes_longer_than_others_can_wait_is_told_all_the_same(
    api: httpx.Client, engine: Engine, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "STATEMENT_SECONDS", 0.2)
    slow = begin(api, crew)
    with stream(api, path_of(slow), logs="true") as its:
        its.until_kind("progress")
        slow_to_read(engine, crew.owner(slow).job_key, 1)
        for line in ("one", "two"):
            crew.flush(slow, Page(logs=[LogLine("stdout", line)]))
            hint(engine, slow)
            assert its.until_kind("log").data["data"]["text"] == line


def test_a_job_that_stays_slow_holds_the_others_up_once(
    api: httpx.Client, engine: Engine, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, sound = begin(api, crew), begin(api, crew)
    together: list[set[Topic]] = []
    cut_off: list[Topic] = []

    def watched(
        connection: Connection,
        jobs: Collection[UUID],
        seen: Collection[Seen],
        archives: Archives,
        *,
        files: bool,
        statement_seconds: float | None,
    ) -> Look:
        topics = {each.topic for each in seen}
        if not files:
            together.append(topics)
        try:
            return look(
                connection, jobs, seen, archives, files=files, statement_seconds=statement_seconds
            )
        except OperationalError:
            cut_off.extend(topics)
            raise

    monkeypatch.setattr(lookout, "look", watched)
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 600.0)
    monkeypatch.setattr(lookout, "STATEMENT_SECONDS", 0.5)
    with (
        stream(api, path_of(slow), logs="true") as its,
        stream(api, path_of(sound), logs="true") as other,
    ):
        for live in (its, other):
            live.until_kind("progress")
        wait_until(lambda: ears(engine), 10, "somebody listens")
        slow_to_read(engine, crew.owner(slow).job_key, 0.7)

        def tell(line: str) -> None:
            for job_id in (slow, sound):
                crew.flush(job_id, Page(logs=[LogLine("stdout", line)]))
            hint(engine, slow, sound)
            for live in (other, its):
                assert live.until_kind("log").data["data"]["text"] == line

        tell("first")
        before = cut_off.count(UUID(slow))
        assert before > 0
        # It is quick while it has nothing to tell, and slow again with each line.
        for line in ("second", "third"):
            hint(engine, slow)
            tell(line)
        together.clear()
        monkeypatch.setattr(apart, "LEAST_SECONDS", 0.0)
        tell("fourth")
        assert cut_off.count(UUID(slow)) == before
        wait_until(lambda: any(UUID(slow) in each for each in together), 20, "it is back")
        quick_to_read(engine)
        tell("fifth")


@contextlib.contextmanager
def hanging(file: Path) -> Iterator[None]:
    """Let the store say nothing to who opens the file."""
    content = file.read_bytes()
    file.unlink()
    os.mkfifo(file)
    try:
        yield
    finally:
        # Who waits there is told that it is the end, and the others find the file.
        pipe = os.open(file, os.O_RDWR)
        file.unlink()
        file.write_bytes(content)
        os.close(pipe)


def test_a_store_that_hangs_holds_up_only_who_waits_for_its_files(
    api: httpx.Client, engine: Engine, settings: Settings, crew: Crew
) -> None:
    job = close(write_run(engine, 2_000))
    api.post(f"{job.path}/archive").raise_for_status()
    archiver(engine, settings).look()
    running = begin(api, crew)
    with stream(api, path_of(running)) as other:
        other.until_kind("progress")
        with hanging(booked_file(job)), stream(api, path_of(str(job.id))) as its:
            for first in (1, 4):
                crew.flush(running, rows=rows(first, first + 2))
                hint(engine, running)
                other.until_kind("points")
            wait_until(lambda: its.says_nothing_for(0.1), 10, "it waits for the file")
            assert not {"points", "bye"} & {each.kind for each in its.all}
    assert drawn(other.all) == losses(1, 6)
