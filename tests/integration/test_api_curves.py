"""Curves over HTTP: what they say, of which job, and what is refused."""

import math
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import Engine, delete

from models.tables import rollups, series_rollups
from services.curves import MOST_JOBS
from services.database import transaction
from services.pages import LayerReading, Page
from tests.pretenders import reading
from tests.submitted import Crew, Json, submit
from tests.versions import on_newest_postgres
from tests.written import make_rows, write_job

ROWS = 1_960
LOSSES = 1 / np.arange(1, ROWS + 1)


@pytest.fixture
def job(api: httpx.Client, engine: Engine) -> Json:
    """A job of `linear` (flatten1, linear1) with 1,960 iterations in two flushes."""
    made = submit(api, record={"grad_norm_every": 10, "layers_every": 5})
    crew = Crew(engine)
    crew.claim()
    rows = make_rows(LOSSES)
    for part in (rows[:1_000], rows[1_000:]):
        measured = [at for at in part["iteration"].tolist() if at == 1 or at % 5 == 0]
        layers = [LayerReading(at, [reading(None), reading(at / 7)]) for at in measured]
        crew.flush(made["id"], Page(rows=part, layers=layers, layers_every=5))
    return made


def curve(api: httpx.Client, job: Json, **query: Any) -> Json:  # noqa: ANN401 - a query
    answer = api.get(f"/v1/jobs/{job['id']}/curve", params=query)
    assert answer.status_code == httpx.codes.OK, answer.text
    return dict(answer.json())


def test_a_curve_says_what_it_stands_for(api: httpx.Client, job: Json) -> None:
    drawn = curve(api, job, series="loss")
    points = math.ceil(ROWS / 16)
    assert {name: drawn[name] for name in ("job", "series", "from", "to", "bucket", "rows")} == {
        "job": job["id"],
        "series": "loss",
        "from": 1,
        "to": ROWS,
        "bucket": 16,
        "rows": ROWS,
    }
    assert drawn["iteration"] == list(range(1, ROWS + 1, 16))
    assert drawn["count"] == [16] * (points - 1) + [ROWS % 16]
    assert drawn["non_finite"] == [0] * points
    assert drawn["max"] == LOSSES[::16].tolist()
    assert drawn["min"] == [*LOSSES[15::16], LOSSES[-1]]
    assert drawn["mean"][0] == pytest.approx(LOSSES[:16].mean(), rel=1e-15)


def test_few_rows_are_drawn_as_they_are(api: httpx.Client, job: Json) -> None:
    drawn = curve(api, job, **{"from": 101, "to": 150, "points": 50})
    assert (drawn["bucket"], drawn["rows"]) == (1, 50)
    assert drawn["min"] == drawn["mean"] == drawn["max"] == LOSSES[100:150].tolist()


def test_a_gradient_norm_is_drawn_where_it_was_measured(api: httpx.Client, job: Json) -> None:
    drawn = curve(api, job, series="grad_norm")
    assert (drawn["bucket"], drawn["rows"]) == (1, 196)
    assert drawn["iteration"] == list(range(1, ROWS, 10))
    wide = curve(api, job, series="grad_norm", points=100)
    assert (wide["bucket"], wide["rows"], wide["iteration"][:3]) == (64, 196, [1, 71, 131])


def test_a_layer_has_curves_of_its_own(api: httpx.Client, job: Json) -> None:
    drawn = curve(api, job, series="layers.linear1.grad_norm", points=50)
    assert (drawn["bucket"], drawn["rows"]) == (80, 1 + ROWS // 5)
    assert drawn["iteration"][:3] == [1, 85, 165]
    assert drawn["max"][:2] == [80 / 7, 160 / 7]
    share = curve(api, job, series="layers.flatten1.error_share", points=2)
    assert share["max"] == [0.5, 0.5]
    nothing = curve(api, job, series="layers.flatten1.grad_norm")
    assert (nothing["rows"], nothing["iteration"]) == (0, [])


def test_epochs_are_drawn_by_their_last_iteration(api: httpx.Client, engine: Engine) -> None:
    written = write_job(engine)
    written.write_rows(make_rows(np.ones(500)))
    written.write(
        "epochs",
        *(
            {
                "epoch": number,
                "batches": 100,
                "samples": 6_400,
                "first_iteration": 100 * number - 99,
                "last_iteration": 100 * number,
                "train_loss": 1 / number,
                "skipped_updates": 0,
                "seconds": 1.0,
                "test_loss": math.nan if number == 2 else None,
            }
            for number in range(1, 6)
        ),
    )
    job = {"id": str(written.id)}
    drawn = curve(api, job, series="epoch.train_loss", **{"from": 101})
    assert drawn["iteration"] == [200, 300, 400, 500]
    assert drawn["mean"] == [1 / 2, 1 / 3, 1 / 4, 1 / 5]
    bad = curve(api, job, series="epoch.test_loss")
    assert (bad["iteration"], bad["non_finite"], bad["mean"]) == ([200], [1], [None])
    few = curve(api, job, series="epoch.train_loss", points=2)
    assert (few["bucket"], few["count"], few["min"], few["max"]) == (16, [5], [1 / 5], [1.0])


@pytest.mark.parametrize("series", ["loss", "grad_norm", "layers.linear1.weight_norm"])
def test_a_book_from_before_there_were_rollups_has_the_same_curves(
    api: httpx.Client, engine: Engine, job: Json, series: str
) -> None:
    before = curve(api, job, series=series, points=40)
    with transaction(engine) as connection:
        for table in (rollups, series_rollups):
            assert connection.execute(delete(table)).rowcount > 0
    after = curve(api, job, series=series, points=40)
    assert before.pop("mean") == pytest.approx(after.pop("mean"), rel=1e-13)
    assert after == before


def test_an_empty_book_has_an_empty_curve(api: httpx.Client) -> None:
    drawn = curve(api, submit(api))
    assert (drawn["from"], drawn["to"], drawn["bucket"], drawn["rows"]) == (1, 0, 1, 0)
    assert drawn["iteration"] == drawn["mean"] == []


def test_several_jobs_are_drawn_in_one_call(api: httpx.Client, engine: Engine, job: Json) -> None:
    other = write_job(engine)
    other.write_rows(make_rows(np.full(40, math.inf)))
    names = [str(other.id), job["id"], str(other.id)]
    answer = api.get("/v1/curves", params={"job": names, "points": 3})
    one, two = answer.json()["items"]
    assert (one["job"], one["non_finite"], one["min"]) == (names[0], [16, 16, 8], [None] * 3)
    assert two == curve(api, job, points=3)


@on_newest_postgres
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"series": "los"}, "did you mean loss?"),
        ({"series": "layers.linear2.grad_norm"}, "did you mean layers.linear1.grad_norm?"),
        ({"series": "epoch.job_key"}, "epoch"),
        ({"series": "x" * 301}, "300"),
        ({"points": 1}, "greater than or equal to 2"),
        ({"points": 10_001}, "less than or equal to 10000"),
        ({"from": 5, "to": 4}, "lies behind"),
        ({"from": 0}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    api: httpx.Client, job: Json, query: Json, said: str
) -> None:
    answer = api.get(f"/v1/jobs/{job['id']}/curve", params=query)
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert said in answer.text


def test_jobs_that_are_not_there_or_too_many_are_refused(api: httpx.Client, job: Json) -> None:
    unknown = "01890000-0000-7000-8000-000000000000"
    answer = api.get("/v1/curves", params={"job": [job["id"], unknown]})
    assert (answer.status_code, unknown in answer.text) == (httpx.codes.NOT_FOUND, True)
    for names in ([], [job["id"]] * (MOST_JOBS + 1)):
        answer = api.get("/v1/curves", params={"job": names})
        assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY


def test_a_range_beyond_the_newest_iteration_is_cut(api: httpx.Client, job: Json) -> None:
    drawn = curve(api, job, **{"from": ROWS, "to": 10**15})
    assert (drawn["from"], drawn["to"], drawn["iteration"]) == (ROWS, ROWS, [ROWS])
    drawn = curve(api, job, **{"from": ROWS + 1, "to": 2**63 - 1})
    assert (drawn["rows"], drawn["iteration"]) == (0, [])
