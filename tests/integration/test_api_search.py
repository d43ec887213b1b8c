"""GET /v1/jobs with `filter` and `order_by`."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, func, insert, select, update
from sqlalchemy.dialects.postgresql import JSONB

from foundation.settings import ApiSettings, Settings
from models.tables import jobs, metrics, plan_outlines, progress, spec_outlines, summaries
from models.tables.outlines import LEFT_OUT, USUAL
from services.database import transaction
from tests.integration.test_api_bad_input import is_problem
from tests.many_jobs import make_jobs
from tests.serving import serving
from tests.submitted import Crew, Json, submit
from tests.versions import on_newest_postgres


def names(api: httpx.Client, **query: Any) -> list[str]:  # noqa: ANN401 - a query
    answer = api.get("/v1/jobs", params=query)
    assert answer.status_code == httpx.codes.OK, answer.text
    return [item["name"] for item in answer.json()["items"]]


def summarise(engine: Engine, name: str, **numbers: float | None) -> None:
    key = select(jobs.c.key).where(jobs.c.name == name).scalar_subquery()
    with transaction(engine) as connection:
        connection.execute(update(summaries).where(summaries.c.job_key == key).values(**numbers))


def test_the_example_of_the_contract(api: httpx.Client, engine: Engine) -> None:
    sgd = {"name": "sgd", "lr": 0.05}
    for name in ("a", "b", "c", "d"):
        submit(api, name=name, optimizer=sgd, tags={"team": "speech" if name == "c" else "vision"})
    submit(api, name="slow", optimizer=sgd | {"lr": 0.001}, tags={"team": "vision"})
    crew = Crew(engine)
    for _ in range(4):
        crew.claim()
    for name, loss in (("a", 0.4), ("b", 0.6), ("c", 0.3), ("d", None), ("slow", 0.1)):
        summarise(engine, name, best_loss=loss)
    wanted = (
        "state = 'running' and summary.best_loss < 0.5 and spec.optimizer.lr >= 0.01 "
        "and tags.team = 'vision'"
    )
    assert names(api, filter=wanted) == ["a"]
    assert names(api, filter=f"not ({wanted})") == ["slow", "d", "c", "b"]


def test_a_filter_goes_with_project_state_and_tag(api: httpx.Client) -> None:
    submit(api, name="a", project="one", tags={"x": "1"}, epochs=3)
    submit(api, name="b", project="two", tags={"x": "1"}, epochs=3)
    submit(api, name="c", project="one", tags={"x": "2"}, epochs=3)
    submit(api, name="d", project="one", tags={"x": "1"}, epochs=4)
    query = {"project": "one", "tag": "x:1", "state": "queued", "filter": "plan.epochs = 3"}
    assert names(api, **query) == ["a"]


def test_what_a_job_does_not_have_is_null_and_unlike_everything(api: httpx.Client) -> None:
    submit(api, name="with", tags={"team": "vision"}, stop={"target_loss": 0.1})
    submit(api, name="without")
    assert names(api, filter="tags.team = null") == ["without"]
    assert names(api, filter="tags.team != 'vision'") == ["without"]
    assert names(api, filter="tags.team < 'zzz'") == ["with"]
    assert names(api, filter="spec.stop.target_loss = null") == ["without"]
    assert names(api, filter="spec.stop.target_loss != null") == ["with"]
    assert names(api, filter="not spec.stop.target_loss > 0.5") == ["without", "with"]
    assert names(api, filter="error.type = null and loss = null") == ["without", "with"]


def test_values_of_unlike_types_are_not_equal_nor_less_nor_greater(api: httpx.Client) -> None:
    submit(api, name="number", batch_size=64)
    submit(api, name="word", batch_size="full")
    assert names(api, filter="spec.batch_size = 64") == ["number"]
    assert names(api, filter="spec.batch_size = '64'") == []
    assert names(api, filter="spec.batch_size < 1000") == ["number"]
    assert names(api, filter="spec.batch_size >= 'a'") == ["word"]
    assert names(api, filter="spec.batch_size in (64, 'full')") == ["word", "number"]
    assert names(api, filter="spec.drop_last = false and spec.drop_last != 0") == ["word", "number"]


def test_like_takes_wildcards_and_a_backslash_takes_them_away(api: httpx.Client) -> None:
    for name in ("a_b", "axb", "a%b", "a\\b", "it's"):
        submit(api, name=name)
    assert names(api, filter="name like 'a_b'") == ["a\\b", "a%b", "axb", "a_b"]
    assert names(api, filter=r"name like 'a\_b'") == ["a_b"]
    assert names(api, filter=r"name like '%\%%'") == ["a%b"]
    assert names(api, filter=r"name like 'a\\b'") == ["a\\b"]
    assert names(api, filter="name like 'A%'") == []
    assert names(api, filter="name = 'it''s' or name not like '%_%'") == ["it's"]


def test_times_are_compared_as_moments(api: httpx.Client) -> None:
    submit(api, name="a")
    at = submit(api, name="b")["created_at"]
    assert names(api, filter=f"created_at = '{at}'") == ["b"]
    assert names(api, filter=f"created_at < '{at}'") == ["a"]
    assert names(api, filter="created_at > '2020-01-01T00:00:00-05:00'") == ["b", "a"]
    assert (
        names(api, filter="finished_at = null and created_at < '0001-01-01T00:00:00+14:00'") == []
    )


def test_numbers_of_the_progress_and_a_metric_are_found(api: httpx.Client, engine: Engine) -> None:
    for name in ("a", "b"):
        submit(api, name=name)
    with transaction(engine) as connection:
        rows = connection.execute(select(jobs.c.name, jobs.c.key))
        keys = {row.name: row.key for row in rows}
        connection.execute(
            update(progress).where(progress.c.job_key == keys["a"]).values(iteration=23, rows=23)
        )
        connection.execute(
            insert(metrics).values(
                job_key=keys["b"],
                number=1,
                name="train/f1",
                kind="epoch",
                count=1,
                non_finite=0,
                last=0.5,
                min=0.25,
                max=0.75,
                last_iteration=1,
            )
        )
    assert names(api, filter="progress.fraction = 0.5 and progress.iterations_total = 46") == ["a"]
    assert names(api, filter="progress.iteration < 22.5") == ["b"]
    assert names(api, filter='metrics."train/f1".max > 0.7') == ["b"]
    assert names(api, order_by='-metrics."train/f1".min') == ["b", "a"]


def test_a_bad_filter_is_a_problem_that_points_at_the_position(api: httpx.Client) -> None:
    answer = api.get("/v1/jobs", params={"filter": "state = 'running' and lss < 1"})
    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert is_problem(answer)
    body = answer.json()
    assert body["type"] == "/problems/filter-invalid"
    assert body["position"] == 23
    (error,) = body["errors"]
    assert error["loc"] == ["query", "filter"]
    assert error["msg"] == "at character 23: lss is no field: did you mean loss?"


@on_newest_postgres
@pytest.mark.parametrize(
    ("query", "parameter", "said"),
    [
        ({"order_by": "summary.best_los"}, "order_by", "did you mean summary.best_loss?"),
        ({"order_by": "name;drop table jobs"}, "order_by", "separated by commas"),
        ({"group_by": "spec.optimizer.l"}, "group_by", "did you mean spec.optimizer.lr?"),
        ({"group_by": "state", "order_by": "state"}, "order_by", "does not go with group_by"),
        ({"group_by": "state", "include": "attempts"}, "include", "does not go with group_by"),
    ],
)
def test_a_bad_order_or_group_is_refused(
    api: httpx.Client, query: Json, parameter: str, said: str
) -> None:
    answer = api.get("/v1/jobs", params=query)
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    (error,) = answer.json()["errors"]
    assert error["loc"] == ["query", parameter]
    assert said in error["msg"]


def walk(api: httpx.Client, **query: Any) -> Iterator[list[Json]]:  # noqa: ANN401 - a query
    """Read page by page, as a client does; what happens between two pages is the caller's."""
    while True:
        page = api.get("/v1/jobs", params=query).raise_for_status().json()
        yield page["items"]
        if page["next_cursor"] is None:
            return
        query["cursor"] = page["next_cursor"]


@pytest.mark.parametrize("order_by", ["summary.best_loss", "-summary.best_loss,name", "-loss"])
def test_null_stands_last_nan_above_infinity_and_ties_by_the_jobs_number(
    api: httpx.Client, engine: Engine, order_by: str
) -> None:
    losses = {"a": 0.5, "b": None, "c": float("nan"), "d": 0.5, "e": float("inf"), "f": None}
    for name, loss in losses.items():
        submit(api, name=name)
        summarise(engine, name, best_loss=loss)
        with transaction(engine) as connection:
            connection.execute(
                update(progress)
                .where(progress.c.job_key == jobs.c.key, jobs.c.name == name)
                .values(latest_loss=loss)
            )
    up = "adecbf"
    down = {"-summary.best_loss,name": "ceadbf", "-loss": "cedafb"}
    expected = down.get(order_by, up)
    for limit in (1, 2, 4, 6):
        pages = walk(api, order_by=order_by, limit=limit)
        assert "".join(job["name"] for page in pages for job in page) == expected


@pytest.mark.parametrize("order_by", ["summary.best_loss", "-loss", "spec.optimizer.lr", "name"])
def test_pages_hold_every_job_once_while_jobs_are_added_and_running_ones_change(
    api: httpx.Client, engine: Engine, order_by: str
) -> None:
    made = []
    for number in range(12):
        name = f"{number:02}"
        made.append(name)
        submit(api, name=name, optimizer={"name": "sgd", "lr": 0.1 + number % 3})
        if number % 4:
            summarise(engine, name, best_loss=number % 5 / 4)
    # The one that changes: it may be seen twice or not at all, and moves nobody else.
    restless = made.pop(5)
    seen: list[str] = []
    for turn, page in enumerate(walk(api, order_by=order_by, limit=2)):
        seen += [job["name"] for job in page]
        submit(api, name=f"new {turn}", optimizer={"name": "sgd", "lr": 0.05 * (turn + 1)})
        summarise(engine, f"new {turn}", best_loss=0.3 * turn)
        summarise(engine, restless, best_loss=1.0 - turn / 4)
        assert turn < 30
    assert sorted(name for name in seen if name in made) == made


def test_a_cursor_is_bound_to_its_filter_and_its_order(api: httpx.Client) -> None:
    for _ in range(2):
        submit(api)
    query: Json = {"limit": 1, "filter": "loss = null", "order_by": "-name"}
    cursor = api.get("/v1/jobs", params=query).json()["next_cursor"]
    assert api.get("/v1/jobs", params={**query, "cursor": cursor}).status_code == httpx.codes.OK
    # The same filter in other words is the same filter.
    same = {**query, "filter": "latest.loss=null", "cursor": cursor}
    assert api.get("/v1/jobs", params=same).status_code == httpx.codes.OK
    for other in ({"filter": "loss = 1"}, {"order_by": "name"}, {"order_by": "-name,state"}):
        answer = api.get("/v1/jobs", params={**query, **other, "cursor": cursor})
        assert answer.json()["type"] == "/problems/cursor-invalid", other


def test_long_texts_have_cursors_too(api: httpx.Client) -> None:
    for number in range(3):
        submit(api, name=str(number), notes="\U0001f600" * 5000, tags={"t": "\x01" * 1000})
    pages = walk(api, order_by="spec.notes,tags.t,notes,error.message", limit=1)
    assert [job["name"] for page in pages for job in page] == ["0", "1", "2"]


def test_an_edit_is_found_at_once(api: httpx.Client) -> None:
    job_id = submit(api, name="old", tags={"a": "1"})["id"]
    api.patch(f"/v1/jobs/{job_id}", json={"name": "new", "tags": {"a": "2"}, "priority": 7})
    wanted = "spec.name = 'new' and spec.priority = 7 and tags.a = '2' and name = 'new'"
    assert names(api, filter=wanted) == ["new"]


def without_what_is_left_out(documents: Json) -> Json:
    for *path, last in LEFT_OUT:
        part = documents
        for name in path:
            part = part[name]
        part.pop(last, None)
    return documents


def test_an_outline_is_spec_and_plan_without_what_is_long_or_usual(
    api: httpx.Client, engine: Engine
) -> None:
    layers = [{"flatten": {}}, {"linear": {"features": 10}}]
    loss = {"name": "cross_entropy", "weight": "balanced"}
    job = submit(api, name="x", notes="n", network={"layers": layers}, loss=loss, seed=7)
    with transaction(engine) as connection:
        spec = connection.scalars(select(spec_outlines.c.spec)).one()
        plan = connection.scalars(select(plan_outlines.c.plan)).one()
    whole = api.get(f"/v1/jobs/{job['id']}").json()
    kept = without_what_is_left_out({"spec": dict(whole["spec"]), "plan": dict(whole["plan"])})
    usual = {name for name, value in USUAL.items() if whole["spec"][name] == value}
    assert {"seed", "loss", "name"}.isdisjoint(usual)
    assert spec == {name: value for name, value in kept["spec"].items() if name not in usual}
    assert plan == kept["plan"]
    assert names(api, filter="spec.network.layers.1.linear.features = 10") == ["x"]
    assert names(api, filter="plan.network.layers.0.kind = 'flatten'") == ["x"]
    assert names(api, filter="spec.loss.weight = 'balanced' and spec.stop.min_delta = 0") == ["x"]


def test_what_is_usual_is_the_same_here_and_there(engine: Engine) -> None:
    with transaction(engine) as connection:
        assert connection.scalar(select(func.usual_spec(type_=JSONB()))) == dict(USUAL)


@on_newest_postgres
def test_a_search_that_takes_too_long_is_ended(settings: Settings, engine: Engine) -> None:
    with transaction(engine) as connection:
        make_jobs(connection, 2_000)
    hasty = settings.model_copy(update={"api": ApiSettings(search_seconds=0.001)})
    with serving(hasty) as api:
        answer = api.get("/v1/jobs", params={"filter": "plan.network.layers.0.name like '%x%y%'"})
    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert answer.json()["type"] == "/problems/too-slow"
    assert is_problem(answer)
