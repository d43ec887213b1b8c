"""Every rollup is the aggregate of its rows, and every curve the aggregate of its range's."""

import math
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine, RowMapping, select

from models.domain.lifecycle import Outcome, StopReason
from models.tables import rollups, series_rollups
from services.curves import Curve, CurveQuery
from services.database import transaction
from services.endings import Ending
from services.rollups import BASE, FACTOR, width_of
from services.series import layer_number
from tests.pretenders import BATCHES
from tests.property.known_books import LAYERS_EVERY, SERIES, KnownBook, Summary
from tests.versions import on_newest_postgres

pytestmark = on_newest_postgres

ODD = (math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e300, -1e300)
LEVELS = range(1, 7)
LAYERS_BASE = BASE * LAYERS_EVERY

odd_numbers = st.sampled_from([(), ODD[:3], ODD])
# How many rows a flush brings; at which share of its rows the job goes on before it, if it is
# taken back; whether the flush is lost at first.
Step = tuple[int, float | None, bool]
steps = st.lists(
    st.tuples(st.integers(1, 700), st.none() | st.floats(0, 1), st.booleans()),
    min_size=1,
    max_size=6,
)
points_asked = st.sampled_from([2, 3, 10, 100, 999, 10_000])
several = hypothesis_settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def write_book(engine: Engine, steps: list[Step], odd: tuple[float, ...]) -> KnownBook:
    book = KnownBook(engine, seed=len(steps))
    for count, resume_at, fails in steps:
        if resume_at is not None:
            book.resume(int(book.last * resume_at))
        book.flush(count, odd, fails=fails)
    return book


def complete(last: int, base: int) -> set[tuple[int, int]]:
    """Level and bucket of all that is complete once iteration `last` is there."""
    return {(level, bucket) for level in LEVELS for bucket in range(last // width_of(level, base))}


def inside(values: Mapping[int, float], level: int, bucket: int, base: int) -> list[float]:
    width = width_of(level, base)
    return [v for at, v in values.items() if bucket * width < at <= (bucket + 1) * width]


def check(stored: RowMapping, prefix: str, want: Summary) -> None:
    assert stored[f"{prefix}non_finite"] == want.non_finite
    assert (stored[f"{prefix}min"], stored[f"{prefix}max"]) == (want.min, want.max)
    assert want.has_sum(stored[f"{prefix}sum"])


@several
@given(steps=steps, odd=odd_numbers)
def test_rollups_are_the_aggregates_of_their_rows(
    engine: Engine, steps: list[Step], odd: tuple[float, ...]
) -> None:
    book = write_book(engine, steps, odd)
    with transaction(engine) as connection:
        found = connection.execute(select(rollups).where(rollups.c.job_key == book.key)).mappings()
        stored = {(row["level"], row["bucket"]): row for row in found}
    assert set(stored) == complete(book.last, BASE)
    for (level, bucket), row in stored.items():
        for name in SERIES:
            values = inside(book.values[name], level, bucket, BASE)
            check(row, f"{name}_", Summary.of(values))
        measured = book.values["grad_norm"]
        first = [at for at in measured if at > bucket * width_of(level)]
        count = len(inside(measured, level, bucket, BASE))
        assert row["grad_norm_count"] == count
        assert row["grad_norm_first"] == (min(first) if count else None)


@several
@given(steps=steps, odd=odd_numbers)
def test_a_layers_rollups_are_the_aggregates_of_its_readings(
    engine: Engine, steps: list[Step], odd: tuple[float, ...]
) -> None:
    book = write_book(engine, steps, odd)
    measured = max(book.norms, default=0)
    with transaction(engine) as connection:
        table = series_rollups.c
        found = connection.execute(
            select(series_rollups).where(table.job_key == book.key)
        ).mappings()
        stored = {(row["series"], row["level"], row["bucket"]): row for row in found}
    grad_norm, error, share = (
        layer_number(0, norm) for norm in ("grad_norm", "error_norm", "error_share")
    )
    for level, bucket in complete(measured, LAYERS_BASE):
        values = inside(book.norms, level, bucket, LAYERS_BASE)
        row = stored.pop((grad_norm, level, bucket))
        assert row["count"] == len(values)
        check(row, "", Summary.of(values))
        # Two layers with the same error: each has half of it.
        for number, each in ((error, 1.5), (share, 0.5)):
            check(stored.pop((number, level, bucket)), "", Summary.of([each] * len(values)))
    # The layer without weights has its error, and nothing else.
    assert {series for series, *_ in stored} <= {
        *(layer_number(0, norm) for norm in ("weight_norm", "update_ratio")),
        *(layer_number(1, norm) for norm in ("error_norm", "error_share")),
    }


def expected(values: Mapping[int, float], curve: Curve) -> dict[int, tuple[int, Summary]]:
    """By bucket: its first iteration, and what it should say."""
    buckets: dict[int, dict[int, float]] = {}
    for at, value in sorted(values.items()):
        if curve.first <= at <= curve.last:
            buckets.setdefault((at - 1) // curve.bucket, {})[at] = value
    return {place: (next(iter(rows)), Summary.of(rows.values())) for place, rows in buckets.items()}


def check_curve(curve: Curve, values: Mapping[int, float]) -> None:
    want = expected(values, curve)
    parts = curve.parts
    assert parts.first.tolist() == [first for first, _ in want.values()]
    assert curve.rows == sum(each.count for _, each in want.values())
    means = curve.mean().tolist()
    for place, (_, each) in enumerate(want.values()):
        assert parts.count[place] == each.count
        assert parts.non_finite[place] == each.non_finite
        if each.min is None or each.max is None:
            assert parts.without_finite[place]
            assert math.isnan(means[place])
            continue
        assert (parts.min[place], parts.max[place]) == (each.min, each.max)
        assert each.has_sum(parts.sum[place])
        assert each.min <= means[place] <= each.max


@several
@example(steps=[(126, None, False)], odd=(), asked=[(0.375, 0.3125, 2)])
@given(
    steps=steps,
    odd=odd_numbers,
    asked=st.lists(
        st.tuples(
            st.floats(0, 1), st.floats(0, 1.2), st.sampled_from([2, 3, 10, 100, 999, 10_000])
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_a_curve_is_the_aggregate_of_its_range(
    engine: Engine,
    steps: list[Step],
    odd: tuple[float, ...],
    asked: list[tuple[float, float, int]],
) -> None:
    book = write_book(engine, steps, odd)
    series = {**book.values, "layers.conv1.grad_norm": book.norms}
    for begin, end, points in asked:
        first = 1 + int((book.last - 1) * min(begin, end))
        last = max(first, int(book.last * max(begin, end)))
        for name, values in series.items():
            curve = book.read(CurveQuery(name, first, last, points))
            assert (curve.first, curve.last) == (first, min(last, book.last))
            assert len(curve.parts.count) <= points
            in_range = sum(first <= at <= last for at in values)
            if in_range <= points:
                assert curve.bucket == 1
            check_curve(curve, values)


@pytest.mark.parametrize(
    "name",
    [
        *SERIES,
        "layers.conv1.grad_norm",
        "layers.conv1.error_share",
        "epoch.train_loss",
        "epoch.test_loss",
        "epoch.val_loss",
        "metrics.a/each",
        "metrics.b",
    ],
)
def test_a_curve_is_the_same_while_the_job_runs_and_after(engine: Engine, name: str) -> None:
    book = KnownBook(engine, seed=1, tells=True)
    queries = [
        CurveQuery(name, first, last, points)
        for first, last in ((1, 777), (5, 640), (129, 1024), (33, 1000))
        for points in (2, 20, 200)
    ]
    book.flush(1024, ODD[:3])
    book.finish_epochs(1, 1024 // BATCHES)
    running = [book.read(query) for query in queries]
    assert any(curve.rows for curve in running) == (name != "epoch.val_loss")
    for count in (1, 15, 16 * FACTOR**3, 333):
        epochs = book.last // BATCHES
        book.flush(count)
        book.finish_epochs(epochs + 1, book.last // BATCHES)
    book.end(Ending(Outcome.SUCCEEDED, StopReason.EPOCHS))
    for before, query in zip(running, queries, strict=True):
        after = book.read(query)
        assert after.bucket == before.bucket
        for one, other in zip(_arrays(before), _arrays(after), strict=True):
            assert one == other


def _arrays(curve: Curve) -> list[bytes]:
    parts = curve.parts
    arrays = (parts.first, parts.count, parts.non_finite, parts.min, parts.max, parts.sum)
    return [each.tobytes() for each in arrays]
