"""A metric's curve stands for exactly its values, whatever the range and the number of points."""

import math

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from models.domain.checkpoints import Resumed
from models.domain.metrics import MetricKind
from services.archive import Archives
from services.curves import Curve, CurveQuery, read_curve
from services.database import snapshot, transaction
from services.pages import Page
from services.recording import Owner
from tests.bookings import id_of
from tests.integration.owned import write
from tests.measured import block_of
from tests.pretenders import make_rows
from tests.submitted import Crew, submit
from tests.written import make_rows as written_rows

ROWS = 7_000
CHUNK = 700


def told(iteration: int) -> dict[str, float]:
    """Values at uneven distances, rare at first and then at every iteration; some not finite."""
    tells = iteration % 5 == 0 if iteration < 3_000 else iteration % 7 != 3
    if not tells:
        return {}
    if iteration % 501 == 0:
        return {"wild": math.nan}
    return {"wild": math.inf if iteration % 997 == 0 else math.sin(iteration) * iteration}


VALUES = {n: values["wild"] for n in range(1, ROWS + 1) if (values := told(n))}
NO_ARCHIVES = Archives("/nowhere")


@pytest.fixture
def grown(engine: Engine, owner: Owner) -> Owner:
    """A job that has told all of them, some of them twice: it went back in between."""
    at, going_back = 0, {2_100: 1_234, 5_434: 4_000}
    while at < ROWS:
        count = min(CHUNK, ROWS - at)
        metrics = ((n, told(n), MetricKind.ITERATION) for n in range(at + 1, at + count + 1))
        write(engine, owner, Page(rows=make_rows(at + 1, count), metrics=block_of(*metrics)))
        at += count
        if at in going_back:
            at = going_back.pop(at)
            write(engine, owner, Page(resumed=Resumed(at, 0, like=True)))
    assert not going_back
    return owner


def drawn(engine: Engine, owner: Owner, query: CurveQuery) -> Curve:
    with snapshot(engine) as connection:
        return read_curve(connection, id_of(engine, owner.job_key), query, NO_ARCHIVES)


def check(curve: Curve, query: CurveQuery) -> None:
    inside = {n: v for n, v in VALUES.items() if (query.first or 1) <= n <= (query.last or ROWS)}
    parts = curve.parts
    assert curve.rows == len(inside)
    assert parts.buckets <= query.points
    assert (curve.bucket == 1) == (len(inside) <= query.points)
    iterations, values = list(inside), np.array(list(inside.values()))
    start = 0
    for place in range(parts.buckets):
        end = start + int(parts.count[place])
        held = values[start:end]
        finite = held[np.isfinite(held)]
        assert parts.first[place] == iterations[start]
        assert parts.non_finite[place] == len(held) - len(finite)
        assert parts.min[place] == min(finite, default=math.inf)
        assert parts.max[place] == max(finite, default=-math.inf)
        assert parts.sum[place] == pytest.approx(finite.sum(), rel=1e-12, abs=1e-9)
        start = end


def test_a_curve_of_any_range_stands_for_its_values(engine: Engine, grown: Owner) -> None:
    @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(1, ROWS + 9), st.integers(0, ROWS), st.integers(2, 400))
    def of_any_range(first: int, length: int, points: int) -> None:
        query = CurveQuery("metrics.wild", first, first + length, points)
        check(drawn(engine, grown, query), query)

    of_any_range()
    for points in (2, 100, len(VALUES) - 1, len(VALUES), 10_000):
        query = CurveQuery("metrics.wild", points=points)
        check(drawn(engine, grown, query), query)


def test_what_a_metric_comes_to_after_a_rewind_is_what_its_values_say(
    engine: Engine, grown: Owner
) -> None:
    for to in (6_990, 5_000, 130, 3):
        write(engine, grown, Page(resumed=Resumed(to, 0, like=True)))
        kept = [value for at, value in VALUES.items() if at <= to]
        finite = [value for value in kept if math.isfinite(value)]
        with transaction(engine) as connection:
            booked = connection.exec_driver_sql(
                "SELECT count, non_finite, min, max, last FROM metrics"
            ).all()
        expected = (len(kept), len(kept) - len(finite))
        if not kept:
            assert booked == []
        else:
            assert [tuple(row) for row in booked] == [
                (*expected, min(finite), max(finite), kept[-1])
            ]


def test_curves_of_metrics_over_http(api: httpx.Client, engine: Engine) -> None:
    ids = [submit(api)["id"] for _ in range(2)]
    crew = Crew(engine)
    while (job_id := crew.claim()) is not None:
        metrics = block_of(
            *((n, {"a/b.c": n / 2}, MetricKind.ITERATION) for n in range(2, 101, 2)),
            (100, {"end": 1.0}, MetricKind.EPOCH),
        )
        crew.flush(job_id, Page(rows=written_rows(np.ones(100)), metrics=metrics))
    path = f"/v1/jobs/{ids[0]}/curve"
    curve = api.get(path, params={"series": "metrics.a/b.c", "points": 4, "to": 70}).json()
    assert curve == {
        "job": ids[0],
        "series": "metrics.a/b.c",
        "from": 1,
        "to": 70,
        "bucket": 16,
        "rows": 35,
        "iteration": [2, 34, 66],
        "count": [16, 16, 3],
        "non_finite": [0, 0, 0],
        "min": [1.0, 17.0, 33.0],
        "mean": [8.5, 24.5, 34.0],
        "max": [16.0, 32.0, 35.0],
    }
    both = api.get("/v1/curves", params={"job": ids, "series": "metrics.end"}).json()["items"]
    assert [(each["job"], each["iteration"], each["max"]) for each in both] == [
        (job_id, [100], [1.0]) for job_id in ids
    ]
    # It may be told yet.
    nothing = api.get(path, params={"series": "metrics.other"})
    assert (nothing.status_code, nothing.json()["rows"]) == (httpx.codes.OK, 0)


@pytest.mark.parametrize("series", ["metrics", "metrics.", "metrics.a b", "metrics." + "a" * 101])
def test_a_series_of_no_name_is_refused(api: httpx.Client, series: str) -> None:
    path = f"/v1/jobs/{submit(api)['id']}/curve"
    answer = api.get(path, params={"series": series})
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert "metrics.<name>" in answer.json()["detail"]
