"""Metrics in the flush: each value once, with its row or after it, and what it all comes to."""

import math

import pytest
from sqlalchemy import Engine

from models.domain.checkpoints import Resumed
from models.domain.metrics import MOST_METRICS, Metric, MetricKind, MetricsBroken
from models.metrics import MetricValues
from services.database import transaction
from services.pages import Page
from services.recording import Owner
from tests.bookings import events_of, job_of
from tests.integration.owned import bits_of, write
from tests.measured import Told, block_of, booked_metrics, booked_values, iteration_metrics
from tests.pretenders import BATCHES, epoch_of, make_rows
from tests.waiting import wait_until

ITERATION, EPOCH = MetricKind.ITERATION, MetricKind.EPOCH


def page(first: int, count: int, *told: Told) -> Page:
    rows = make_rows(first, count) if count else None
    return Page(rows=rows, metrics=block_of(*told))


def values_of(engine: Engine, owner: Owner, name: str) -> list[tuple[int, int, float]]:
    with transaction(engine) as connection:
        return booked_values(connection, owner.job_key).get(name, [])


def facts_of(engine: Engine, owner: Owner, name: str) -> tuple[object, ...]:
    with transaction(engine) as connection:
        row = booked_metrics(connection, owner.job_key)[name]
    names = ("kind", "count", "non_finite", "last", "min", "max", "last_iteration")
    return tuple(row[each] for each in names)


def test_values_are_booked_with_their_rows_and_counted(engine: Engine, owner: Owner) -> None:
    write(engine, owner, page(1, 4, *iteration_metrics(1, 4)))
    write(engine, owner, page(5, 3, *iteration_metrics(5, 7)))
    assert values_of(engine, owner, "a/each") == [(n, n, 1 / n) for n in range(1, 8)]
    assert values_of(engine, owner, "a.third") == [(1, 3, 3.0), (2, 6, 6.0)]
    assert facts_of(engine, owner, "a/each") == ("iteration", 7, 0, 1 / 7, 1 / 7, 1.0, 7)
    assert facts_of(engine, owner, "a.third") == ("iteration", 2, 0, 6.0, 3.0, 6.0, 6)


def test_a_value_may_come_one_flush_after_its_row(engine: Engine, owner: Owner) -> None:
    write(engine, owner, page(1, 4))
    write(engine, owner, page(5, 0, (2, {"late": 1.0}, ITERATION), (4, {"late": 2.0}, ITERATION)))
    assert values_of(engine, owner, "late") == [(1, 2, 1.0), (2, 4, 2.0)]


def test_what_is_not_finite_is_stored_and_is_no_extreme(engine: Engine, owner: Owner) -> None:
    odd = (math.nan, math.inf, -math.inf)
    write(engine, owner, page(1, 3, *((n, {"odd": odd[n - 1]}, ITERATION) for n in (1, 2, 3))))
    assert facts_of(engine, owner, "odd") == ("iteration", 3, 3, -math.inf, None, None, 3)
    stored = [value for _, _, value in values_of(engine, owner, "odd")]
    assert str(stored) == "[nan, inf, -inf]"
    finite = (2.0, math.nan, -1.0)
    more = ((n, {"odd": finite[n - 4]}, ITERATION) for n in (4, 5, 6))
    write(engine, owner, page(4, 3, *more))
    assert facts_of(engine, owner, "odd") == ("iteration", 6, 4, -1.0, -1.0, 2.0, 6)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ((5, {"a": 1.0}, ITERATION), "metric a at iteration 5, the book ends at 4"),
        ((3, {"a": 1.0}, ITERATION), "metric a: iteration 3 comes after its next"),
        ((2, {"a": 1.0}, ITERATION), "metric a: iteration 2 comes after its next"),
        ((4, {"a": 1.0}, EPOCH), "metric a is one of an iteration, not of an epoch"),
    ],
    ids=["ahead", "again", "behind", "kind"],
)
def test_a_value_that_cannot_be_booked_is_refused_with_all_of_its_flush(
    engine: Engine, owner: Owner, told: Told, words: str
) -> None:
    write(engine, owner, page(1, 3, (1, {"a": 0.5}, ITERATION), (3, {"a": 0.25}, ITERATION)))
    with pytest.raises(MetricsBroken, match=words):
        write(engine, owner, page(4, 1, (4, {"fine": 1.0}, ITERATION), told))
    assert len(bits_of(engine, owner.job_key)) == 3
    assert values_of(engine, owner, "a") == [(1, 1, 0.5), (2, 3, 0.25)]
    assert values_of(engine, owner, "fine") == []


def test_names_are_checked_by_the_book_too(engine: Engine, owner: Owner) -> None:
    (block,) = block_of((1, {"a": 1.0}, ITERATION))
    forged = MetricValues((Metric("no name", ITERATION),), block.values)
    with pytest.raises(MetricsBroken, match="can't name a metric"):
        write(engine, owner, Page(rows=make_rows(1, 1), metrics=[forged]))
    many = {f"m{n}": 1.0 for n in range(MOST_METRICS)}
    write(engine, owner, page(1, 1, (1, many, ITERATION)))
    with pytest.raises(MetricsBroken, match="a job has at most 200"):
        write(engine, owner, page(2, 1, (2, {"one_more": 1.0}, ITERATION)))
    write(engine, owner, page(2, 1, (2, many, ITERATION)))
    with transaction(engine) as connection:
        found = booked_metrics(connection, owner.job_key)
    assert [row["number"] for row in found.values()] == list(range(1, MOST_METRICS + 1))
    assert {row["count"] for row in found.values()} == {2}


def test_going_on_takes_back_what_was_told_after_it(engine: Engine, owner: Owner) -> None:
    write(engine, owner, page(1, 9, *iteration_metrics(1, 9), (9, {"new": 1.0}, ITERATION)))
    resumed = page(6, 1, *iteration_metrics(6, 6))
    resumed.resumed = Resumed(5, 0, like=True)
    write(engine, owner, resumed)
    assert values_of(engine, owner, "a/each") == [(n, n, 1 / n) for n in range(1, 7)]
    assert facts_of(engine, owner, "a.third") == ("iteration", 2, 0, 6.0, 3.0, 6.0, 6)
    with transaction(engine) as connection:
        assert "new" not in booked_metrics(connection, owner.job_key)
    # A name that has gone may come back, as another series.
    write(engine, owner, page(7, 1, (7, {"new": 2.0}, EPOCH)))
    assert facts_of(engine, owner, "new") == ("epoch", 1, 0, 2.0, 2.0, 2.0, 7)


def test_what_is_told_again_where_an_attempt_goes_on_stays_as_it_is(
    engine: Engine, owner: Owner
) -> None:
    told = (5, {"before": 1.0, "after": 1.0}, ITERATION)
    write(engine, owner, page(1, 7, told, (7, {"gone": 1.0}, ITERATION)))
    # The value after the checkpoint is told anew; one that had not come to the book, too.
    write(engine, owner, Page(resumed=Resumed(5, 0, like=True)))
    write(engine, owner, page(6, 0, (5, {"after": 2.0, "new": 2.0}, ITERATION)))
    write(engine, owner, page(6, 1, (6, {"after": 3.0}, ITERATION)))
    assert values_of(engine, owner, "before") == [(1, 5, 1.0)]
    assert values_of(engine, owner, "after") == [(1, 5, 1.0), (2, 6, 3.0)]
    assert values_of(engine, owner, "new") == [(1, 5, 2.0)]
    assert facts_of(engine, owner, "after") == ("iteration", 2, 0, 3.0, 1.0, 3.0, 6)
    both = page(7, 0, (6, {"new": 1.0, "after": 4.0}, ITERATION))
    with pytest.raises(MetricsBroken, match="metric after: iteration 6 comes after its next"):
        write(engine, owner, both)


@pytest.mark.parametrize("epoch_is_booked", [True, False])
def test_an_epochs_metric_goes_with_an_epoch_that_is_measured_anew(
    engine: Engine, owner: Owner, *, epoch_is_booked: bool
) -> None:
    """The checkpoint was written at the epoch's last iteration, before it was evaluated."""
    first = page(1, BATCHES, (BATCHES, {"top": 0.5}, EPOCH))
    first.epochs = [epoch_of(1)]
    write(engine, owner, first)
    second = page(BATCHES + 1, BATCHES, (2 * BATCHES, {"top": 0.75}, EPOCH))
    second.epochs = [epoch_of(2)] if epoch_is_booked else []
    second.metrics += block_of((2 * BATCHES, {"step": 1.0}, ITERATION))
    write(engine, owner, second)
    write(engine, owner, Page(resumed=Resumed(2 * BATCHES, 1, like=True)))
    assert values_of(engine, owner, "top") == [(1, BATCHES, 0.5)]
    assert values_of(engine, owner, "step") == [(1, 2 * BATCHES, 1.0)]
    assert job_of(engine, owner.job_key).rewinds == 1
    assert events_of(engine, owner.job_key)[-1].type == "rewound"
    again = page(0, 0, (2 * BATCHES, {"top": 0.8}, EPOCH))
    again.epochs = [epoch_of(2)]
    write(engine, owner, again)
    assert facts_of(engine, owner, "top") == ("epoch", 2, 0, 0.8, 0.5, 0.8, 2 * BATCHES)
    # Nothing is left that goes on otherwise: this resume takes nothing back.
    write(engine, owner, Page(resumed=Resumed(2 * BATCHES, 2, like=True)))
    assert job_of(engine, owner.job_key).rewinds == 1


def test_what_a_flush_changes_of_a_metric_is_changed_in_place(engine: Engine, owner: Owner) -> None:
    """Heap-only (HOT): no index is touched, and the table doesn't grow with the flushes."""
    names = {f"m{n}": float(n) for n in range(20)}
    for iteration in range(1, 101):
        write(engine, owner, page(iteration, 1, (iteration, names, ITERATION)))

    def counted() -> tuple[int, int] | None:
        with transaction(engine) as connection:
            connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
        with transaction(engine) as connection:
            updated, hot = connection.exec_driver_sql(
                "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'metrics'"
            ).one()
        return (updated, hot) if updated >= 99 * 20 else None

    updated, hot = wait_until(counted, 30, "the server's statistics")
    assert hot >= 0.95 * updated
