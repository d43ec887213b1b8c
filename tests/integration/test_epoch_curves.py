"""Curves of epochs: what they stand for, and that a million of them are drawn by the server."""

import math
import tracemalloc
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from services.archive import Archives
from services.curves import Curve, CurveQuery, read_curve
from services.database import snapshot, transaction
from tests.written import WrittenJob, write_job

EPOCHS = 100_000
EACH = 3
"""Iterations an epoch."""
LARGEST = 1.7e308
_WRITE = text("""
    INSERT INTO epochs (job_key, epoch, batches, samples, first_iteration, last_iteration,
        train_loss, skipped_updates, seconds, test_loss)
    SELECT :key, e, :each, e % 100, e * :each - :each + 1, e * :each, sin(e), 0,
        CASE WHEN e % 64 < 32 THEN 1.7e308 ELSE -1.7e308 END,
        CASE WHEN e % 1001 = 0 THEN 'NaN' WHEN e % 1002 = 0 THEN '-Infinity'
            WHEN e % 7 = 0 THEN e / 3.0 END
    FROM generate_series(1, :count) AS e
""")


@pytest.fixture
def job(engine: Engine) -> WrittenJob:
    made = write_job(engine)
    with transaction(engine) as connection:
        connection.execute(_WRITE, {"key": made.key, "each": EACH, "count": EPOCHS})
        connection.execute(
            text("UPDATE progress SET iteration = :last WHERE job_key = :key"),
            {"last": EPOCHS * EACH, "key": made.key},
        )
    return made


def known(name: str) -> dict[int, float]:
    """By epoch."""
    if name == "samples":
        return {epoch: float(epoch % 100) for epoch in range(1, EPOCHS + 1)}
    if name == "train_loss":
        return {epoch: math.sin(epoch) for epoch in range(1, EPOCHS + 1)}
    measured: dict[int, float] = {}
    for epoch in range(1, EPOCHS + 1):
        if epoch % 1_001 == 0:
            measured[epoch] = math.nan
        elif epoch % 1_002 == 0:
            measured[epoch] = -math.inf
        elif epoch % 7 == 0:
            measured[epoch] = epoch / 3
    return measured


KNOWN = {name: known(name) for name in ("samples", "train_loss", "test_loss")}


def drawn(engine: Engine, job: WrittenJob, query: CurveQuery) -> Curve:
    with snapshot(engine) as connection:
        return read_curve(connection, job.id, query, Archives("/nowhere"))


def check(curve: Curve, values: Mapping[int, float], query: CurveQuery) -> None:
    first, last = query.first or 1, query.last or EPOCHS * EACH
    epochs = range(-(-first // EACH), min(last // EACH, EPOCHS) + 1)
    inside = {epoch: values[epoch] for epoch in epochs if epoch in values}
    buckets: dict[int, dict[int, float]] = {}
    for epoch, value in inside.items():
        buckets.setdefault((epoch - 1) // curve.bucket, {})[epoch] = value
    assert (curve.bucket == 1) == (len(inside) <= query.points)
    assert curve.parts.buckets == len(buckets) <= query.points
    assert curve.parts.first.tolist() == [min(held) * EACH for held in buckets.values()]
    means = curve.mean().tolist()
    for place, held in enumerate(buckets.values()):
        finite = [value for value in held.values() if math.isfinite(value)]
        parts = curve.parts.part(slice(place, place + 1))
        counts = (int(parts.count[0]), int(parts.non_finite[0]))
        assert counts == (len(held), len(held) - len(finite))
        assert float(parts.min[0]) == pytest.approx(min(finite, default=math.inf), rel=1e-15)
        assert float(parts.max[0]) == pytest.approx(max(finite, default=-math.inf), rel=1e-15)
        if finite:
            mean = math.fsum(finite) / len(finite)
            assert means[place] == pytest.approx(mean, rel=1e-9, abs=1e-12)


def test_a_curve_of_any_range_stands_for_its_epochs(engine: Engine, job: WrittenJob) -> None:
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @example(1, EPOCHS * EACH, 10_000, "train_loss")
    @example(5, 5, 2, "samples")
    @given(
        st.integers(1, EPOCHS * EACH),
        st.integers(0, EPOCHS * EACH) | st.integers(0, 500),
        st.integers(2, 300),
        st.sampled_from(list(KNOWN)),
    )
    def of_any_range(first: int, length: int, points: int, name: str) -> None:
        query = CurveQuery(f"epoch.{name}", first, first + length, points)
        check(drawn(engine, job, query), KNOWN[name], query)

    of_any_range()


def test_the_memory_that_it_takes_hangs_on_the_points(engine: Engine, job: WrittenJob) -> None:
    query = CurveQuery("epoch.train_loss", points=100)
    drawn(engine, job, query)
    tracemalloc.start()
    try:
        drawn(engine, job, query)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Of a hundred thousand rows each has at least a value, of eight bytes.
    assert peak < 8 * EPOCHS


def test_a_sum_beyond_a_float64_is_no_error(engine: Engine, job: WrittenJob) -> None:
    curve = drawn(engine, job, CurveQuery("epoch.seconds", last=EACH * 2_048, points=200))
    assert curve.bucket == 16
    assert curve.parts.count.tolist() == [16] * 128
    assert curve.mean().tolist()[:2] == [LARGEST, 0.0]
    wide = drawn(engine, job, CurveQuery("epoch.seconds", points=2))
    assert (wide.mean().tolist(), wide.rows) == ([0.0] * wide.parts.buckets, EPOCHS)
