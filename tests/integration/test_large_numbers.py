"""Numbers whose sum is beyond a float64: their mean is one of them, whatever it is read from."""

import math

import httpx
import numpy as np
import pytest
from sqlalchemy import Engine, delete

from foundation.settings import Settings
from models.domain.metrics import MetricKind
from models.tables import rollups
from services.database import transaction
from services.pages import Page
from services.recording import Owner, flush
from tests.archived import archiver, close
from tests.bookings import id_of
from tests.measured import block_of
from tests.pretenders import make_rows
from tests.written import make_rows as written_rows
from tests.written import write_job

LARGEST = 1.7e308
# Sixteen and sixteen again: their sums are infinite, those joined are no number at all.
LOSSES = np.repeat([LARGEST, -LARGEST], 16)
RUN = np.concatenate([LOSSES, LOSSES, np.full(64, LARGEST), np.ones(64), np.full(64, -2.0)])


def fields(api: httpx.Client, job_id: object, points: int, series: str = "loss") -> list[object]:
    answer = api.get(f"/v1/jobs/{job_id}/curve", params={"series": series, "points": points})
    assert answer.status_code == httpx.codes.OK, answer.text
    drawn = answer.json()
    return [drawn[name] for name in ("min", "mean", "max", "count", "non_finite")]


def test_the_mean_of_finite_rows_is_finite(api: httpx.Client, engine: Engine, owner: Owner) -> None:
    rows = make_rows(1, len(RUN))
    rows["loss"] = RUN
    with transaction(engine) as connection:
        flush(connection, owner, Page(rows=rows))
    job_id = id_of(engine, owner.job_key)
    signs = [LARGEST, -LARGEST, LARGEST, -LARGEST, *[LARGEST] * 4]
    assert fields(api, job_id, 16)[1] == [*signs, *[1.0] * 4, *[-2.0] * 4]
    assert fields(api, job_id, 4)[1] == [0.0, LARGEST, 1.0, -2.0]
    assert fields(api, job_id, 2)[1] == [0.0]
    rolled = [fields(api, job_id, points) for points in (2, 4, 16, 256)]
    with transaction(engine) as connection:
        assert connection.execute(delete(rollups)).rowcount
    assert [fields(api, job_id, points) for points in (2, 4, 16, 256)] == rolled


def test_sums_of_large_numbers_are_as_good_as_those_of_small_ones(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    job = write_job(engine, plan={"iterations_total": 1_024})
    values = np.random.default_rng(1).normal(size=1_024)
    values[::3] *= 1e300
    values[1::3] *= 1e289
    values[:16] = math.nan
    job.write_rows(written_rows(values))
    close(job)
    before = [fields(api, job.id, points) for points in (2, 8, 64)]
    mean = before[2][1]
    assert isinstance(mean, list)
    assert mean[1:] == pytest.approx(
        [math.fsum(values[at : at + 16]) / 16 for at in range(16, 1_024, 16)], rel=1e-12
    )
    assert mean[0] is None
    assert api.post(f"{job.path}/archive").status_code == httpx.codes.ACCEPTED
    archiver(engine, settings).look()
    assert [fields(api, job.id, points) for points in (2, 8, 64)] == before


def test_the_mean_of_a_metrics_finite_values_is_finite(
    api: httpx.Client, engine: Engine, owner: Owner
) -> None:
    metrics = block_of(
        *((at + 1, {"m": float(LOSSES[at % 32])}, MetricKind.ITERATION) for at in range(64))
    )
    with transaction(engine) as connection:
        flush(connection, owner, Page(rows=make_rows(1, 64), metrics=metrics))
    job_id = id_of(engine, owner.job_key)
    assert fields(api, job_id, 2, "metrics.m")[1] == [0.0]
    assert fields(api, job_id, 4, "metrics.m")[1] == [LARGEST, -LARGEST, LARGEST, -LARGEST]
