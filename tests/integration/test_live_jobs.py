"""GET /v1/jobs/{id}/events as text/event-stream: all that happens, once, and in order."""

import json
import math
from contextlib import ExitStack

import httpx
import pytest
from pydantic import JsonValue
from sqlalchemy import Engine

from foundation.settings import Settings
from models.domain.lifecycle import Phase
from services import following
from services.cursors import encode_cursor, list_name
from services.pages import LogLine, Page
from tests.serving import serving
from tests.streamed import stream
from tests.submitted import Crew, events_of, submit
from tests.versions import on_newest_postgres
from tests.viewing import STORED, begin, drawn, go_back, losses, numbers, path_of, rows
from tests.written import make_rows, write_job

pytestmark = on_newest_postgres


@pytest.fixture
def crew(engine: Engine) -> Crew:
    return Crew(engine)


def test_a_job_is_followed_from_its_first_event_to_its_end(api: httpx.Client, crew: Crew) -> None:
    job_id = begin(api, crew)
    with stream(api, path_of(job_id)) as live:
        headers = live.answer.headers
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
        live.until_kind("progress")
        crew.flush(job_id, Page(rows=rows(1, 3), phase=Phase.TRAIN, epoch=1, batch=3))
        moved = live.until_kind("progress").data
        crew.end(job_id)
        live.rest()
    heard = live.all
    job = api.get(f"/v1/jobs/{job_id}").json()
    assert [each.data for each in heard if each.kind in STORED] == events_of(api, job_id)
    assert drawn(heard) == losses(1, 3)
    assert (moved["id"], moved["attempt"]) == (None, 1)
    assert moved["data"]["progress"]["iteration"] == 3
    told = [each.data["data"] for each in heard if each.kind == "progress"]
    assert told[-1] == {"progress": job["progress"], "latest": job["latest"]}
    assert heard[-1].data == {
        "id": None,
        "at": None,
        "type": "bye",
        "attempt": None,
        "data": {"reason": "finished"},
    }


def test_points_have_the_form_of_a_curve(api: httpx.Client, crew: Crew) -> None:
    job_id = begin(api, crew)
    crew.flush(job_id, rows=make_rows([1.0, math.nan, 0.25]))
    with stream(api, path_of(job_id)) as live:
        points = live.until_kind("points").data
    assert (points["id"], points["attempt"]) == (None, 1)
    assert points["at"].endswith("Z")
    assert points["data"] == {
        "series": "loss",
        "rewinds": 0,
        "from": 1,
        "to": 3,
        "bucket": 1,
        "rows": 3,
        "iteration": [1, 2, 3],
        "count": [1, 1, 1],
        "non_finite": [0, 1, 0],
        "min": [1.0, None, 0.25],
        "mean": [1.0, None, 0.25],
        "max": [1.0, None, 0.25],
    }


def test_the_past_of_a_long_run_is_one_bounded_curve(api: httpx.Client, crew: Crew) -> None:
    job_id = begin(api, crew, epochs=10_000)
    crew.flush(job_id, rows=rows(1, 20_000))
    with stream(api, path_of(job_id)) as live:
        past = live.until_kind("points").data["data"]
        live.until_kind("progress")
        crew.flush(job_id, rows=rows(20_001, 20_003))
        more = live.until_kind("points").data["data"]
    curve = api.get(f"/v1/jobs/{job_id}/curve?from=1&to=20000&points=500").json()
    assert len(past["iteration"]) <= 500
    assert past == {"rewinds": 0} | {name: curve[name] for name in curve if name != "job"}
    assert (more["from"], more["iteration"]) == (20_001, [20_001, 20_002, 20_003])


def test_what_was_seen_does_not_come_again_wherever_one_left(api: httpx.Client, crew: Crew) -> None:
    job_id = begin(api, crew)
    crew.flush(job_id, Page(rows=rows(1, 5), logs=[LogLine("stdout", f"line {n}") for n in (1, 2)]))
    go_back(crew, job_id, 2)
    crew.flush(job_id, Page(rows=rows(3, 6, scale=2.0)))
    crew.end(job_id)
    with stream(api, path_of(job_id), logs="true") as live:
        whole = live.rest()
    assert {"state", "rewound", "points", "log", "progress", "bye"} == {e.kind for e in whole}
    for place, left in enumerate(whole):
        with stream(api, path_of(job_id), last_id=left.last_id, logs="true") as again:
            rest = again.rest()
        # Progress has no place in the order: who comes back is told where the job stands.
        missing = [e for e in whole[place + 1 :] if e.kind != "progress"]
        came = [e for e in rest if e.kind != "progress"]
        assert [e.data | {"at": 0} for e in came] == [e.data | {"at": 0} for e in missing] or (
            left.kind == "bye"
        )
        assert came[-1].kind == "bye"


def test_a_viewer_goes_on_at_another_process_where_it_was(settings: Settings, crew: Crew) -> None:
    with serving(settings) as api:
        job_id = begin(api, crew)
        crew.flush(job_id, rows=rows(1, 4))
        with ExitStack() as closing:
            first = closing.enter_context(stream(api, path_of(job_id)))
            first.until_kind("points")
            api.patch(f"/v1/jobs/{job_id}", json={"name": "between"})
            first.until_kind("edited")
    # The process is gone; what happens now nobody is told.
    crew.flush(job_id, rows=rows(5, 9))
    with serving(settings) as api:
        with stream(api, path_of(job_id), last_id=first.last_id) as second:
            second.until_kind("points")
            crew.end(job_id)
            second.rest()
        listed = events_of(api, job_id)
    heard = first.all + second.all
    assert numbers(heard) == [event["id"] for event in listed]
    assert drawn(heard) == losses(1, 9)


def test_a_rewind_tells_a_viewer_what_to_drop(api: httpx.Client, crew: Crew) -> None:
    job_id = begin(api, crew)
    crew.flush(job_id, rows=rows(1, 7))
    with stream(api, path_of(job_id)) as live:
        live.until_kind("progress")
        go_back(crew, job_id, 3)
        crew.flush(job_id, rows=rows(4, 8, scale=2.0))
        rewound = live.until_kind("rewound").data
        points = live.until_kind("points").data["data"]
    assert rewound["data"] == {"from": 7, "to": 3}
    assert (points["rewinds"], points["from"], points["to"]) == (1, 4, 8)
    assert drawn(live.all) == losses(1, 3) | losses(4, 8, scale=2.0)


@pytest.mark.parametrize("backs", [[3], [5, 2], [2, 4], [0]])
def test_a_viewer_that_missed_rewinds_has_the_same_curve(
    api: httpx.Client, crew: Crew, backs: list[int]
) -> None:
    job_id = begin(api, crew)
    crew.flush(job_id, rows=rows(1, 7))
    with stream(api, path_of(job_id)) as live:
        live.until_kind("progress")
    expected = losses(1, 7)
    for turn, to in enumerate(backs, start=2):
        go_back(crew, job_id, to)
        crew.flush(job_id, rows=rows(to + 1, 9, scale=turn))
        expected = {i: y for i, y in expected.items() if i <= to} | losses(to + 1, 9, scale=turn)
    crew.end(job_id)
    with stream(api, path_of(job_id), last_id=live.last_id) as again:
        again.rest()
    assert drawn(live.all + again.all) == expected


def test_log_lines_come_only_to_who_asks(api: httpx.Client, crew: Crew) -> None:
    job_id = begin(api, crew)
    crew.flush(job_id, Page(logs=[LogLine("stdout", "one"), LogLine("stderr", "two")]))
    with stream(api, path_of(job_id), logs="true") as asks, stream(api, path_of(job_id)) as not_:
        asks.until_kind("progress")
        crew.flush(job_id, Page(logs=[LogLine("stdout", "three")]))
        crew.end(job_id)
        asks.rest()
        not_.rest()
    listed = api.get(f"/v1/jobs/{job_id}/logs").json()["items"]
    assert [each.data["data"] for each in asks.all if each.kind == "log"] == listed
    assert [line["text"] for line in listed] == ["one", "two", "three"]
    assert "log" not in {each.kind for each in not_.all}


def test_no_text_can_break_a_frame(api: httpx.Client, crew: Crew) -> None:
    evil = "a\n\nevent: bye\r\ndata: {}\r\rid: 1\n\n\u2028\u0085\x1e"
    job_id = begin(api, crew)
    api.patch(f"/v1/jobs/{job_id}", json={"name": evil})
    crew.flush(job_id, Page(logs=[LogLine("stdout", evil)]))
    crew.end(job_id)
    with stream(api, path_of(job_id), logs="true") as live:
        heard = live.rest()
    (edited,) = [each.data["data"]["to"] for each in heard if each.kind == "edited"]
    (line,) = [each.data["data"]["text"] for each in heard if each.kind == "log"]
    assert (edited, line) == (evil, evil)
    assert [each.kind for each in heard].count("bye") == 1


@pytest.mark.parametrize("most", [3, 200])
def test_more_events_than_one_look_reads_come_piece_by_piece(
    api: httpx.Client, crew: Crew, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    job_id = begin(api, crew)
    for number in range(8):
        api.patch(f"/v1/jobs/{job_id}", json={"name": f"{number}"})
    crew.flush(job_id, Page(rows=rows(1, 5), logs=[LogLine("stdout", str(n)) for n in range(8)]))
    go_back(crew, job_id, 4)
    monkeypatch.setattr(following, "MOST_ITEMS", most)
    with stream(api, path_of(job_id), logs="true") as live:
        live.until_kind("progress")
    assert numbers(live.all) == [event["id"] for event in events_of(api, job_id)]
    assert drawn(live.all) == losses(1, 4)
    lines = [each.data["data"]["line"] for each in live.all if each.kind == "log"]
    assert lines == list(range(1, 9))


def test_long_texts_come_piece_by_piece(
    api: httpx.Client, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = begin(api, crew)
    crew.flush(job_id, Page(logs=[LogLine("stdout", "x" * 4_000) for _ in range(10)]))
    monkeypatch.setattr(following, "MOST_CHARACTERS", 10_000)
    with stream(api, path_of(job_id), logs="true") as live:
        live.until_kind("progress")
    assert len([each for each in live.all if each.kind == "log"]) == 10


def test_a_job_that_is_not_there_is_not_followed(api: httpx.Client) -> None:
    headers = {"Accept": "text/event-stream"}
    path = path_of("01a20a19-ee73-766c-939d-0707f8a8aac7")
    answer = api.get(path, headers=headers)
    assert answer.status_code == httpx.codes.NOT_FOUND
    assert answer.json()["type"] == "/problems/job-missing"


def refused_at(api: httpx.Client, path: str, last_id: str) -> bool:
    headers = {"Accept": "text/event-stream", "Last-Event-ID": last_id}
    with api.stream("GET", path, headers=headers) as answer:
        if answer.status_code == httpx.codes.OK:
            return False
        (error,) = json.loads(answer.read())["errors"]
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    return bool(error["loc"] == ["header", "last-event-id"])


@pytest.mark.parametrize("garbage", ["1", "x" * 5_000, "AAAA", "%00", "1e9", "-", "[1,0,0,null]"])
def test_an_id_that_is_none_of_ours_is_refused(api: httpx.Client, garbage: str) -> None:
    assert refused_at(api, path_of(submit(api)["id"]), garbage)


def test_an_id_of_another_stream_is_refused(api: httpx.Client, crew: Crew) -> None:
    one, other = begin(api, crew), begin(api, crew)
    with stream(api, path_of(one)) as live:
        last_id = live.until_kind("progress").last_id
    assert refused_at(api, path_of(other), last_id)
    assert refused_at(api, "/v1/events", last_id)


@pytest.mark.parametrize(
    "forged",
    [
        [99, 0, 0, None],
        [1, 1, 0, None],
        [1, 0, 99, None],
        [1, 0, 0, 99],
        [-1, 0, 0, None],
        [2**63, 0, 0, None],
        [1.0, 0, 0, None],
        [True, 0, 0, None],
        [1, 0, 0],
        "1",
        None,
    ],
    ids=str,
)
def test_an_id_that_is_ahead_of_the_book_is_refused(api: httpx.Client, forged: JsonValue) -> None:
    job_id = submit(api)["id"]
    name = list_name("live", "job", job_id)
    assert not refused_at(api, path_of(job_id), encode_cursor(name, [1, 0, 0, None]))
    assert refused_at(api, path_of(job_id), encode_cursor(name, forged))


@pytest.mark.parametrize("event", ["at the last event", "before it", "before the rewind"])
def test_an_id_with_rewinds_that_its_event_does_not_have_is_refused(
    api: httpx.Client, crew: Crew, event: str
) -> None:
    job_id = begin(api, crew)
    crew.flush(job_id, rows=rows(1, 7))
    go_back(crew, job_id, 3)
    api.patch(f"/v1/jobs/{job_id}", json={"name": "after it"})
    name = list_name("live", "job", job_id)
    with stream(api, path_of(job_id)) as live:
        live.until_kind("progress")
        (rewound,) = [each.data["id"] for each in live.all if each.kind == "rewound"]
        last = numbers(live.all)[-1]
        place = {"at the last event": last, "before it": last - 1, "before the rewind": rewound - 1}
        rewinds = 1 if event == "before the rewind" else 0
        for iteration in (0, 3, 2**63 - 1):
            forged = encode_cursor(name, [place[event], rewinds, iteration, None])
            assert refused_at(api, path_of(job_id), forged)
            right = encode_cursor(name, [place[event], 1 - rewinds, min(iteration, 3), None])
            assert not refused_at(api, path_of(job_id), right)
        # Nobody else's stream has ended of it.
        crew.flush(job_id, rows=rows(4, 8))
        live.until_kind("points")


def test_the_list_is_what_it_was(api: httpx.Client, engine: Engine) -> None:
    job = write_job(engine)
    for accept in ("*/*", "application/json", "application/json, text/event-stream;q=0.5"):
        answer = api.get(f"{job.path}/events", headers={"Accept": accept})
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == {"items": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("query", "accept"),
    [("limit=5", "text/event-stream"), ("cursor=x", "text/event-stream"), ("logs=true", "*/*")],
)
def test_what_belongs_to_the_other_form_is_refused(
    api: httpx.Client, query: str, accept: str
) -> None:
    path = f"{path_of(submit(api)['id'])}?{query}"
    answer = api.get(path, headers={"Accept": accept})
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert answer.json()["errors"][0]["loc"] == ["query", query.partition("=")[0]]
