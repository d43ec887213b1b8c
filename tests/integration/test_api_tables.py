"""Rows as Arrow and Parquet over HTTP: what pyarrow reads is what is in the book, to the bit."""

import io
import math
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine

from tests.versions import on_newest_postgres
from tests.written import WrittenJob, make_rows, write_job

pytestmark = on_newest_postgres

COLUMNS = ["iteration", "epoch", "batch", "samples", "loss", "lr", "grad_norm", "seconds"]
MEDIA_TYPES = {
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}
both = pytest.mark.parametrize("form", ["arrow", "parquet"])


@pytest.fixture
def job(engine: Engine) -> WrittenJob:
    return write_job(engine)


def table_in(answer: httpx.Response, form: str) -> pa.Table:
    assert answer.status_code == httpx.codes.OK, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPES[form]
    if form == "arrow":
        return pa.ipc.open_stream(answer.content).read_all()
    return pq.read_table(io.BytesIO(answer.content))


def read(api: httpx.Client, job: WrittenJob, form: str, **parameters: Any) -> pa.Table:  # noqa: ANN401
    asked = {"format": form, **parameters}
    return table_in(api.get(f"{job.path}/iterations", params=asked), form)


@both
def test_a_whole_run_comes_back_to_the_bit(api: httpx.Client, job: WrittenJob, form: str) -> None:
    bits = np.random.default_rng(3).integers(-(2**63), 2**63 - 1, 20_000, dtype=np.int64)
    known = [0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 1.7976931348623157e308]
    losses = np.concatenate([bits.view("<f8"), np.array(known)])
    rows = make_rows(losses)
    job.write_rows(rows)
    table = read(api, job, form)
    assert table.column_names == COLUMNS
    for name in COLUMNS:
        if name == "grad_norm":
            continue
        found = table.column(name).to_numpy()
        assert found.dtype == rows[name].dtype
        assert found.tobytes() == rows[name].tobytes(), name
    norms = table.column("grad_norm")
    assert np.array_equal(norms.is_valid().to_numpy(), rows["has_grad_norm"])
    assert norms.drop_null().to_numpy().tobytes() == (
        rows["grad_norm"][rows["has_grad_norm"]].tobytes()
    )


@both
def test_a_norm_that_is_not_a_number_is_no_missing_one(
    api: httpx.Client, job: WrittenJob, form: str
) -> None:
    rows = make_rows([1.0, math.nan, 3.0])
    rows["has_grad_norm"] = [True, False, True]
    rows["grad_norm"] = [math.nan, 0, math.inf]
    job.write_rows(rows)
    table = read(api, job, form, fields="loss,grad_norm")
    assert table.column_names == ["iteration", "loss", "grad_norm"]
    assert table.column("loss").null_count == 0
    assert table.column("grad_norm").is_null().to_pylist() == [False, True, False]
    assert table.column("grad_norm").is_nan().to_pylist() == [True, None, False]


@both
def test_a_job_without_rows_has_a_table_without_rows(
    api: httpx.Client, job: WrittenJob, form: str
) -> None:
    table = read(api, job, form)
    assert (table.column_names, table.num_rows) == (COLUMNS, 0)


@both
def test_ranges_and_pages_are_as_in_other_formats(
    api: httpx.Client, job: WrittenJob, form: str
) -> None:
    job.write_many(1_050)
    assert read(api, job, form, epoch=3).column("iteration").to_pylist() == list(range(201, 301))
    asked: dict[str, Any] = {"format": form, "from": 100, "to": 124, "limit": 10}
    answer = api.get(f"{job.path}/iterations", params=asked)
    numbers = table_in(answer, form).column("iteration").to_pylist()
    while "next" in answer.links:
        answer = api.get(answer.links["next"]["url"])
        numbers += table_in(answer, form).column("iteration").to_pylist()
    assert numbers == list(range(100, 125))


@both
def test_accept_names_them(api: httpx.Client, job: WrittenJob, form: str) -> None:
    job.write_many(3)
    answer = api.get(f"{job.path}/iterations", headers={"Accept": MEDIA_TYPES[form]})
    assert table_in(answer, form).num_rows == 3


def test_a_long_run_is_written_in_row_groups(api: httpx.Client, job: WrittenJob) -> None:
    job.write_many(250_000)
    file = api.get(f"{job.path}/iterations?format=parquet").content
    metadata = pq.ParquetFile(io.BytesIO(file)).metadata
    assert metadata.num_rows == 250_000
    assert metadata.num_row_groups == 3
