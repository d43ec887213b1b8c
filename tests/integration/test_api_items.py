"""An item of a list is the job itself: the same names, in the same order, to the byte."""

import math
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import Engine, update

from models.domain.lifecycle import Outcome, StopReason
from models.domain.metrics import MetricKind
from models.schemas.job import Job, JobItem
from models.tables import progress, summaries
from services.database import transaction
from services.pages import Page
from tests.measured import block_of
from tests.pretenders import make_rows
from tests.submitted import Crew, Json, submit

EVERYTHING = "attempts,metrics,plan.network,error.traceback"
ERROR: Json = {"type": "E", "message": "m\u00fc \U0001f600", "traceback": "t\n\x7f"}
ODD = {
    "final_loss": math.nan,
    "best_loss": -math.inf,
    "train_loss": 1e16,
    "train_accuracy": 1.0,
    "val_loss": 5e-324,
    "val_accuracy": -0.0,
    "test_loss": 1e300,
    "test_accuracy": 0.1 + 0.2,
    "best_metric": "val_loss",
    "best_value": math.inf,
    "best_epoch": 1,
    "best_iteration": 2**53,
}
LAYERS = [{"flatten": {}}, {"dropout": {"p": 0.5}}, {"linear": {"features": 10}}]


def by_itself(api: httpx.Client, job_id: str) -> bytes:
    answer = api.get(f"/v1/jobs/{job_id}")
    assert answer.status_code == httpx.codes.OK
    return answer.content


@pytest.fixture
def job_ids(api: httpx.Client, engine: Engine) -> list[str]:
    """Jobs in every state of their lives, with all numbers that JSON has a say in."""
    crew = Crew(engine)
    crew.register()
    failed = submit(api, name="failed", tags={"b": "\u00e4", "a": '"'}, max_attempts=1)["id"]
    crew.claim()
    crew.flush(failed, rows=make_rows(1, 30))
    crew.end(failed, Outcome.ERROR, StopReason.ERROR, ERROR)
    running = submit(api, name="running", optimizer={"name": "sgd", "lr": 1e-7, "momentum": 0.0})
    crew.claim()
    told = ((n, {"whole": 2.0 * n, "odd": math.nan}, MetricKind.ITERATION) for n in (1, 2))
    crew.flush(running["id"], Page(rows=make_rows(1, 2), metrics=block_of(*told)))
    waits = submit(api, name="waits", network={"layers": LAYERS}, stop={"target_loss": 1e30})
    with transaction(engine) as connection:
        connection.execute(update(summaries).values(ODD))
        connection.execute(update(progress).values(latest_loss=math.nan, iterations_per_second=3.0))
    return [failed, running["id"], waits["id"]]


def test_an_item_with_everything_is_the_job_to_the_byte(
    api: httpx.Client, job_ids: list[str]
) -> None:
    answer = api.get("/v1/jobs", params={"order_by": "created_at", "include": EVERYTHING})
    written = b",".join(by_itself(api, job_id) for job_id in job_ids)
    assert answer.content == b'{"items":[' + written + b'],"next_cursor":null}'


def test_an_item_with_less_is_the_job_without_that(api: httpx.Client, job_ids: list[str]) -> None:
    items = api.get("/v1/jobs", params={"order_by": "created_at"}).json()["items"]
    for item, job_id in zip(items, job_ids, strict=True):
        job = orjson.loads(by_itself(api, job_id))
        del job["attempts"], job["metrics"], job["plan"]["network"]
        if job["error"] is not None:
            del job["error"]["traceback"]
        assert orjson.dumps(item) == orjson.dumps(job)


@pytest.mark.parametrize(("model", "include"), [(JobItem, ""), (Job, EVERYTHING)])
def test_an_item_is_what_the_contract_says(
    api: httpx.Client, job_ids: list[str], model: type[JobItem], include: str
) -> None:
    query: dict[str, Any] = {"include": include} if include else {}
    items = api.get("/v1/jobs", params=query).json()["items"]
    assert len(items) == len(job_ids)
    for item in items:
        assert orjson.dumps(item) == model.model_validate(item).model_dump_json().encode()
