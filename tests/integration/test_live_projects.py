"""GET /v1/events?project=… as text/event-stream: from now on, in the order of transactions."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from sqlalchemy import Connection, Engine, text

from api import lookout
from api.routes import events
from services import project_events
from services.cursors import encode_cursor, list_name
from services.database import snapshot, transaction
from services.hints import say
from services.lifecycle import Happening, add_events
from tests.streamed import Heard, Stream, stream
from tests.submitted import submit
from tests.versions import on_newest_postgres
from tests.viewing import path_of
from tests.waiting import wait_until
from tests.written import WrittenJob, write_job

pytestmark = on_newest_postgres

PATH = "/v1/events"


def happen(connection: Connection, job: WrittenJob, note: str) -> None:
    add_events(connection, job.key, [Happening("warning", None, {"note": note})])


def write(job: WrittenJob, *notes: str) -> None:
    for note in notes:
        with transaction(job.engine) as connection:
            happen(connection, job, note)


def notes(heard: list[Heard]) -> list[str]:
    return [str(each.data["data"]["note"]) for each in heard]


def until_note(live: Stream, note: str) -> list[Heard]:
    return live.until(lambda heard: heard.data["data"].get("note") == note)


@contextmanager
def following(api: httpx.Client, project: str, last_id: str = "") -> Iterator[Stream]:
    """Open a stream, and wait for its first words: it has begun."""
    with stream(api, PATH, last_id=last_id, project=project) as live:
        live.wait_for_id()
        yield live


@pytest.fixture
def vision(engine: Engine) -> WrittenJob:
    return write_job(engine, project="vision")


def test_a_project_is_followed_from_now_on(
    api: httpx.Client, engine: Engine, vision: WrittenJob
) -> None:
    second, other = write_job(engine, project="vision"), write_job(engine, project="speech")
    write(vision, "before")
    with following(api, "vision") as live:
        write(vision, "one")
        write(other, "of another")
        write(second, "two")
        write(vision, "three")
        heard = until_note(live, "three")
    listed = api.get(PATH, params={"project": "vision"}).json()["items"]
    assert notes(heard) == ["one", "two", "three"]
    assert [each.data for each in heard] == listed[1:]
    assert [each.data["job"] for each in heard] == [str(j.id) for j in (vision, second, vision)]


def test_all_projects_are_followed_without_a_name(
    api: httpx.Client, engine: Engine, vision: WrittenJob
) -> None:
    with stream(api, PATH) as live:
        live.wait_for_id()
        write(write_job(engine, project="speech"), "one")
        write(vision, "two")
        assert notes(until_note(live, "two")) == ["one", "two"]


def test_writers_that_commit_in_the_opposite_order_leave_no_gap_and_no_repeat(
    api: httpx.Client, engine: Engine, vision: WrittenJob
) -> None:
    later = write_job(engine, project="vision")
    with following(api, "vision") as live, engine.connect() as first:
        happen(first, vision, "first written")
        with transaction(engine) as second:
            happen(second, later, "first committed")
        # What is committed is not told before what was begun earlier, and may still come.
        write(write_job(engine, project="speech"), "elsewhere")
        assert live.says_nothing_for(2.5)
        first.commit()
        heard = until_note(live, "first committed")
        assert notes(heard) == ["first written", "first committed"]
        write(vision, "afterwards")
        assert notes(until_note(live, "afterwards")) == ["afterwards"]
    listed = api.get(PATH, params={"project": "vision"}).json()["items"]
    assert [each.data for each in live.all] == listed


def test_what_is_held_back_comes_without_another_hint(
    api: httpx.Client, engine: Engine, vision: WrittenJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 600.0)
    with following(api, "vision") as live, engine.connect() as older:
        happen(older, write_job(engine), "of an older one")
        with transaction(engine) as connection:
            happen(connection, vision, "held back")
        listens = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'gradbook api ear' AND query LIKE 'LISTEN%'"
        )
        with transaction(engine) as connection:
            wait_until(lambda: connection.scalar(listens), 10, "somebody listens")
        with transaction(engine) as connection:
            say(connection, [vision.id])
        assert live.says_nothing_for(1.0)
        older.rollback()
        assert notes(until_note(live, "held back")) == ["held back"]


def test_a_viewer_goes_on_where_it_was(
    api: httpx.Client, engine: Engine, vision: WrittenJob
) -> None:
    second = write_job(engine, project="vision")
    with following(api, "vision") as live:
        write(vision, "one")
        write(second, "two")
        until_note(live, "two")
    write(vision, "three")
    for place, left in enumerate(live.all):
        with following(api, "vision", left.last_id) as again:
            rest = until_note(again, "three")
        assert notes(rest) == ["one", "two", "three"][place + 1 :]


def test_a_viewer_that_has_heard_nothing_yet_goes_on_there(
    api: httpx.Client, vision: WrittenJob
) -> None:
    with following(api, "vision") as live:
        pass
    write(vision, "meanwhile")
    with following(api, "vision", live.last_id) as again:
        assert notes(until_note(again, "meanwhile")) == ["meanwhile"]


def test_a_quiet_stream_moves_on_with_the_others(
    api: httpx.Client, engine: Engine, vision: WrittenJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes back does not read again all that has happened elsewhere."""
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.1)
    other = write_job(engine, project="speech")
    with following(api, "vision") as live:
        began = live.last_id
        write(other, *map(str, range(5)))
        live.wait_for_id(but=began)
        moved = live.last_id
        write(vision, "now")
        assert notes(until_note(live, "now")) == ["now"]
    with following(api, "vision", moved) as again:
        assert notes(until_note(again, "now")) == ["now"]


def test_more_events_than_one_look_reads_come_piece_by_piece(
    api: httpx.Client, vision: WrittenJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project_events, "MOST_EVENTS", 3)
    with following(api, "vision") as live:
        pass
    write(vision, *map(str, range(10)))
    with following(api, "vision", live.last_id) as again:
        assert notes(until_note(again, "9")) == list(map(str, range(10)))


@pytest.mark.parametrize(
    "forged",
    [
        ["1", 0],
        [1, 0, 0],
        ["x", 0, 0],
        ["-1", 0, 0],
        ["", 0, 0],
        ["9" * 19, 0, 0],
        ["9" * 500, 0, 0],
        ["1", -1, 0],
        ["1", 0, 2**63],
    ],
    ids=str,
)
def test_an_id_that_is_none_of_ours_is_refused(api: httpx.Client, forged: list[object]) -> None:
    name = list_name("live", "project", "vision")
    headers = {"Accept": "text/event-stream", "Last-Event-ID": encode_cursor(name, forged)}  # type: ignore[arg-type]
    answer = api.get(PATH, params={"project": "vision"}, headers=headers)
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert answer.json()["errors"][0]["loc"] == ["header", "last-event-id"]


def test_an_id_of_another_project_is_refused(api: httpx.Client, vision: WrittenJob) -> None:
    del vision
    with following(api, "vision") as live:
        pass
    headers = {"Accept": "text/event-stream", "Last-Event-ID": live.last_id}
    for path in ("/v1/events?project=speech", PATH, path_of(submit(api)["id"])):
        assert api.get(path, headers=headers).status_code == httpx.codes.UNPROCESSABLE_ENTITY


def test_a_quiet_project_is_told_of_its_events_however_far_they_lie_apart(
    api: httpx.Client, engine: Engine, vision: WrittenJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project_events, "MOST_SCANNED", 4)
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 600.0)
    other = write_job(engine, project="speech")
    with following(api, "vision") as live:
        pass
    write(other, *map(str, range(10)))
    write(vision, "one")
    write(other, *map(str, range(11)))
    write(vision, "two")
    with following(api, "vision", live.last_id) as again:
        assert notes(until_note(again, "two")) == ["one", "two"]


def test_one_look_goes_through_a_bounded_number_of_events(
    engine: Engine, vision: WrittenJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few of them are the project's, and however long ago its viewer was there."""
    monkeypatch.setattr(project_events, "MOST_SCANNED", 100)
    other = write_job(engine, project="speech")
    with transaction(engine) as connection:
        connection.execute(
            text(
                "INSERT INTO events (job_key, id, type, data)"
                " SELECT :key, n, 'warning', '{}' FROM generate_series(1, 250) AS n"
            ),
            {"key": other.key},
        )
    write(vision, "last")
    found, point = [], project_events.Point("0")
    for _ in range(3):
        with snapshot(engine) as connection:
            (happened,) = project_events.read_happened(connection, [("vision", point)])
        found.append((len(happened.events), happened.whole, happened.point.number))
        point = happened.point
    assert found == [(0, False, 100), (0, False, 200), (1, True, 0)]


def test_points_whose_turn_does_not_come_stay(
    engine: Engine, vision: WrittenJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project_events, "TURN_SECONDS", 0.0)
    write(vision, "one")
    begin = project_events.Point("0")
    with snapshot(engine) as connection:
        asked = [("vision", begin), (None, begin)]
        first, second = project_events.read_happened(connection, asked)
    assert (len(first.events), first.whole) == (1, True)
    assert (len(second.events), second.whole, second.point) == (0, False, begin)
