"""Code of a team's own at submit, at the claim, and in what a waiting job says."""

import httpx
import pytest
from sqlalchemy import Engine, text

from models.domain.checkpoints import Resumed
from models.domain.offers import Offer, Offers
from services.database import transaction
from services.fleet import Worker, heartbeat
from services.handover import fits_elsewhere
from services.pages import Page
from services.reconciling import queues_in_need
from services.submission import MOST_UNKNOWN
from tests.submitted import Crew, Json, get, spec_of, submit

MODULES = {"team_vision.nets": ("Block", "build"), "team_vision.open": None}
NETS: dict[str, Offer] = {"team_vision": Offer("1.2.0", MODULES)}
LOSSES: dict[str, Offer] = {"losses": Offer(None, {"losses": ("focal",)})}


def own(name: str = "team_vision.nets:build", **changes: object) -> Json:
    return spec_of(network={"entrypoint": name}, **changes)


def refusals(answer: httpx.Response) -> dict[tuple[str | int, ...], str]:
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return {tuple(each["loc"]): each["msg"] for each in answer.json()["errors"]}


@pytest.mark.parametrize("path", ["/v1/plan", "/v1/jobs"])
def test_a_misspelt_name_is_told_at_submit_with_the_one_that_was_meant(
    api: httpx.Client, engine: Engine, path: str
) -> None:
    Crew(engine, offers=NETS).register()
    for name, word in (
        ("team_vision.nets:bild", "does not define bild: did you mean team_vision.nets:build?"),
        (
            "team_vision.net:build",
            "no module team_vision.net: did you mean team_vision.nets:build?",
        ),
        ("team_vison.nets:build", "code of team_vison: did you mean team_vision?"),
        ("subprocess:run", "code of subprocess: there are team_vision"),
        ("team_vision.zzzzzzzzzzzzzzz:q", "as far as workers have it"),
    ):
        (told,) = refusals(api.post(path, json=own(name))).items()
        assert told[0] == ("network", "entrypoint")
        assert word in told[1]
    for name in ("team_vision.nets:build", "team_vision.nets:Block", "team_vision.open:anything"):
        assert api.post(path, json=own(name)).is_success


def test_of_a_package_with_too_many_names_any_is_let_through(
    api: httpx.Client, engine: Engine
) -> None:
    Crew(engine, offers={"large": Offer("1.0", None)}).register()
    assert api.post("/v1/jobs", json=own("large.somewhere.deep:anything")).is_success
    assert refusals(api.post("/v1/jobs", json=own("larger.somewhere:anything")))


def test_without_a_worker_that_offers_code_none_is_taken(api: httpx.Client, engine: Engine) -> None:
    assert (
        "GRADBOOK_ENTRYPOINTS"
        in refusals(api.post("/v1/jobs", json=own()))[("network", "entrypoint")]
    )
    Crew(engine, offers=NETS).register()
    assert api.post("/v1/jobs", json=own()).is_success
    with transaction(engine) as connection:
        connection.execute(text("UPDATE workers SET last_seen = last_seen - interval '1 minute'"))
    assert refusals(api.post("/v1/jobs", json=own()))


def test_of_a_batch_all_are_checked_and_none_is_made(api: httpx.Client, engine: Engine) -> None:
    Crew(engine, offers=NETS).register()
    items = [own(), own("team_vision.nets:bild"), own("gone:x")]
    told = refusals(api.post("/v1/jobs/batch", json={"items": items}))
    assert list(told) == [
        ("items", 1, "network", "entrypoint"),
        ("items", 2, "network", "entrypoint"),
    ]
    assert api.get("/v1/jobs").json()["items"] == []


def test_a_refusal_of_many_names_is_bounded(api: httpx.Client, engine: Engine) -> None:
    Crew(engine, offers=NETS).register()
    items = [own(f"team_vision.nets:bild{number}") for number in range(100)]
    told = refusals(api.post("/v1/jobs/batch", json={"items": items}))
    assert len(told) == MOST_UNKNOWN
    assert all("team_vision.nets:build" in text for text in told.values())


def test_one_worker_must_offer_all_of_it(api: httpx.Client, engine: Engine) -> None:
    Crew(engine, name="one", offers=NETS).register()
    Crew(engine, name="two", offers=LOSSES).register()
    both = own(loss={"entrypoint": "losses:focal"})
    assert "no one worker" in next(iter(refusals(api.post("/v1/jobs", json=both)).values()))
    older: Offers = LOSSES | {"team_vision": Offer("1.1.0", {"team_vision.nets": ("old",)})}
    Crew(engine, name="three", offers=older).register()
    told = refusals(api.post("/v1/jobs", json=both))
    assert list(told) == [("network", "entrypoint")]
    Crew(engine, name="four", offers=NETS | LOSSES).register()
    assert api.post("/v1/jobs", json=both).is_success


def test_what_was_made_once_is_answered_again_when_the_workers_are_gone(
    api: httpx.Client, engine: Engine
) -> None:
    Crew(engine, offers=NETS).register()
    headers = {"Idempotency-Key": "again"}
    first = api.post("/v1/jobs", json=own(), headers=headers)
    with transaction(engine) as connection:
        connection.execute(text("DELETE FROM workers"))
    second = api.post("/v1/jobs", json=own(), headers=headers)
    assert (second.status_code, second.json()["id"]) == (201, first.json()["id"])


def test_a_job_says_that_its_code_is_not_in_its_spec(api: httpx.Client, engine: Engine) -> None:
    Crew(engine, offers=NETS).register()
    job = submit(api, network={"entrypoint": "team_vision.nets:build"})
    assert job["reproducible"] is False
    assert job["plan"]["network"] == {"parameters": None, "layers": []}
    assert submit(api)["reproducible"] is True
    found = api.get("/v1/jobs", params={"filter": "spec.network.entrypoint like 'team_vision%'"})
    assert [each["id"] for each in found.json()["items"]] == [job["id"]]


def test_only_a_worker_that_offers_the_code_takes_the_job(
    api: httpx.Client, engine: Engine
) -> None:
    able, unable = Crew(engine, name="able", offers=NETS), Crew(engine, name="unable")
    able.register()
    unable.register()
    theirs = submit(api, network={"entrypoint": "team_vision.nets:build"}, priority=9)["id"]
    plain = submit(api)["id"]
    assert unable.claim() == plain
    assert unable.claim() is None
    assert able.claim() == theirs


def test_a_job_whose_code_nobody_offers_any_more_waits_and_says_so(
    api: httpx.Client, engine: Engine
) -> None:
    Crew(engine, offers=NETS).register()
    job_id = submit(api, network={"entrypoint": "team_vision.nets:build"}, device="cpu")["id"]
    assert get(api, job_id)["waiting_for"]["reason"] == "turn"
    Crew(engine).register()
    waiting = get(api, job_id)["waiting_for"]
    assert waiting["reason"] == "no_worker"
    assert waiting["detail"].endswith("lets a job name code of team_vision")
    with transaction(engine) as connection:
        assert queues_in_need(connection) == []
    Crew(engine, name="able", device="cuda:0", offers=NETS).register()
    with transaction(engine) as connection:
        (queue,) = queues_in_need(connection)
        assert queue.waiting == 1
    cuda = submit(api, network={"entrypoint": "team_vision.nets:build"}, device="cuda:1")
    waiting = get(api, cuda["id"])["waiting_for"]
    assert waiting["reason"] == "device"
    assert waiting["detail"].endswith("they have cuda:0")


def test_a_ticket_goes_on_to_a_worker_that_offers_the_code(
    api: httpx.Client, engine: Engine
) -> None:
    def elsewhere(*mine: str) -> bool:
        with transaction(engine) as connection:
            return fits_elsewhere(connection, "default", "me", {"cpu"}, mine)

    Crew(engine, name="me").register()
    Crew(engine, name="other", offers=NETS).register()
    submit(api)
    assert not elsewhere()
    submit(api, network={"entrypoint": "team_vision.nets:build"})
    assert elsewhere()
    assert not elsewhere("team_vision")


def test_the_fleet_says_whose_code_a_job_may_name(api: httpx.Client, engine: Engine) -> None:
    Crew(engine, offers=NETS | LOSSES).register()
    (worker,) = api.get("/v1/workers").json()["items"]
    assert worker["packages"] == ["losses", "team_vision"]
    assert "entrypoints" not in worker


def test_a_heartbeat_does_not_write_again_what_is_there(engine: Engine) -> None:
    # Long, and so out of line: each time it is written the table of such values grows.
    modules = {f"team.m{number}": (f"build_{number}",) for number in range(2_000)}
    place = text("""
        SELECT md5(entrypoints::text), pg_relation_size(reltoastrelid)
        FROM workers, pg_class WHERE pg_class.oid = 'workers'::regclass
    """)

    def beat(offers: Offers) -> tuple[str, int]:
        with transaction(engine) as connection:
            heartbeat(connection, Worker("w", "h", 1, ["cpu"], ["default"], offers))
            digest, size = connection.execute(place).one()
        return digest, size

    first = beat({"team": Offer(None, modules)})
    assert first[1] > 0
    for _ in range(20):
        assert beat({"team": Offer(None, modules)}) == first
    assert beat(NETS)[0] != first[0]


def test_a_job_that_goes_on_is_no_more_reproducible_than_it_was(
    api: httpx.Client, engine: Engine
) -> None:
    crew = Crew(engine, offers=NETS)
    crew.register()
    job_id = submit(api, network={"entrypoint": "team_vision.nets:build"})["id"]
    assert crew.claim() == job_id
    crew.flush(job_id, Page(resumed=Resumed(0, 0, like=True)))
    assert get(api, job_id)["reproducible"] is False
