"""POST /v1/plan."""

import httpx
import pytest
from sqlalchemy import Engine, func, select

from models.domain.plan import make_plan
from models.domain.spec import parse_spec
from models.tables import jobs
from services.database import transaction
from tests.submitted import spec_of, submit
from tests.versions import on_newest_postgres

pytestmark = on_newest_postgres


def cifar(**changes: object) -> dict[str, object]:
    return spec_of(dataset={"name": "cifar10"}, network={"name": "lenet5"}, epochs=10, **changes)


@pytest.mark.parametrize(
    ("batch_size", "batches", "last", "total"), [(256, 196, 80, 1960), (250, 200, 250, 2000)]
)
def test_the_worked_example_is_in_the_answer(
    api: httpx.Client, batch_size: int, batches: int, last: int, total: int
) -> None:
    answer = api.post("/v1/plan", json=cifar(batch_size=batch_size))
    plan = answer.json()
    assert answer.status_code == httpx.codes.OK
    assert plan["train_samples"] == 50_000
    assert (plan["batches_per_epoch"], plan["last_batch_size"]) == (batches, last)
    assert (plan["iterations_total"], plan["weight_updates"]) == (total, total)


def test_the_answer_is_the_plan_and_the_jobs_that_are_the_same(api: httpx.Client) -> None:
    spec = cifar(batch_size=256)
    expected = make_plan(parse_spec(spec)).model_dump(mode="json")
    assert api.post("/v1/plan", json=spec).json() == {**expected, "same_as": []}
    first = api.post("/v1/jobs", json={**spec, "name": "one"}).json()
    second = api.post("/v1/jobs", json={**spec, "priority": 3}).json()
    api.post("/v1/jobs", json={**spec, "seed": 1})
    plan = api.post("/v1/plan", json=spec).json()
    assert plan["same_as"] == [second["id"], first["id"]]


def test_at_most_twenty_jobs_are_named(api: httpx.Client) -> None:
    api.post("/v1/jobs/batch", json={"items": [spec_of()] * 30}).raise_for_status()
    assert len(api.post("/v1/plan", json=spec_of()).json()["same_as"]) == 20


def test_the_plan_of_a_job_is_the_one_that_was_announced(api: httpx.Client) -> None:
    announced = api.post("/v1/plan", json=spec_of(batch_size=100)).json()
    assert submit(api, batch_size=100)["plan"] == announced


def test_nothing_is_queued(api: httpx.Client, engine: Engine) -> None:
    api.post("/v1/plan", json=spec_of())
    with transaction(engine) as connection:
        assert connection.execute(select(func.count()).select_from(jobs)).scalar_one() == 0
