"""Metrics told by a training wait for their rows; a mistake is refused where it is made."""

import math

import numpy as np
import pytest

from models.domain.metrics import MOST_METRICS, Metric, MetricKind, MetricsBroken
from models.metrics import MetricValues
from worker.backlog import MetricBacklog

ITERATION, EPOCH = MetricKind.ITERATION, MetricKind.EPOCH


def listed(taken: MetricValues | None) -> list[tuple[str, int, float]]:
    assert taken is not None
    return [
        (taken.metrics[metric].name, iteration, value)
        for metric, iteration, value in taken.values.tolist()
    ]


def test_values_wait_for_the_row_of_their_iteration() -> None:
    backlog = MetricBacklog()
    backlog.add(1, {"a": 1.0, "b": 2.0}, ITERATION)
    backlog.add(3, {"b": 3.0}, ITERATION)
    backlog.add(2, {"a": 4.0, "c": 5.0}, ITERATION)
    assert backlog.take(0) is None
    assert listed(backlog.take(2)) == [("a", 1, 1), ("b", 1, 2), ("a", 2, 4), ("c", 2, 5)]
    assert backlog.take(2) is None
    assert listed(backlog.take(9)) == [("b", 3, 3)]
    assert backlog.take(9) is None


def test_what_is_taken_names_only_what_is_in_it() -> None:
    backlog = MetricBacklog()
    backlog.add(1, {"a": 1.0}, ITERATION)
    backlog.take(1)
    backlog.add(2, {"b": 1.0}, EPOCH)
    taken = backlog.take(2)
    assert taken is not None
    assert taken.metrics == (Metric("b", EPOCH),)
    assert taken.values["metric"].tolist() == [0]


def test_numbers_that_are_not_finite_are_numbers_too() -> None:
    backlog = MetricBacklog()
    backlog.add(1, {"a": math.nan, "b": -math.inf, "c": float(np.float32(0.5)), "d": 3}, ITERATION)
    taken = backlog.take(1)
    assert taken is not None
    assert np.array_equal(taken.values["value"], [math.nan, -math.inf, 0.5, 3], equal_nan=True)


@pytest.mark.parametrize(
    "name", ["", "1a", "a b", "a" * 101, "ä", "a\n", "a\x00", "-a", "a'", "a,b"], ids=repr
)
def test_a_name_that_is_none_is_refused(name: str) -> None:
    backlog = MetricBacklog()
    with pytest.raises(MetricsBroken, match="can't name a metric"):
        backlog.add(1, {"good": 1.0, name: 1.0}, ITERATION)
    assert backlog.take(1) is None


@pytest.mark.parametrize("name", ["a", "_", "A/b.c-d_9", "a" * 100])
def test_a_name_may_have_paths_and_points(name: str) -> None:
    backlog = MetricBacklog()
    backlog.add(1, {name: 1.0}, ITERATION)
    assert listed(backlog.take(1)) == [(name, 1, 1.0)]


@pytest.mark.parametrize("again", [1, 2])
def test_a_second_value_of_an_iteration_or_an_earlier_one_is_refused(again: int) -> None:
    backlog = MetricBacklog()
    backlog.add(2, {"a": 1.0}, ITERATION)
    with pytest.raises(MetricsBroken, match=f"metric a at iteration {again} comes after"):
        backlog.add(again, {"b": 1.0, "a": 2.0}, ITERATION)
    assert listed(backlog.take(9)) == [("a", 2, 1.0)]


@pytest.mark.parametrize("iteration", [0, -5])
def test_there_is_no_iteration_before_the_first(iteration: int) -> None:
    with pytest.raises(MetricsBroken, match="iterations count from 1"):
        MetricBacklog().add(iteration, {"a": 1.0}, ITERATION)


def test_a_metric_stays_of_one_kind() -> None:
    backlog = MetricBacklog()
    backlog.add(1, {"a": 1.0}, EPOCH)
    with pytest.raises(MetricsBroken, match="metric a is one of an epoch, not of an iteration"):
        backlog.add(2, {"a": 1.0}, ITERATION)


def test_a_job_has_so_many_metrics_and_no_more() -> None:
    backlog = MetricBacklog()
    backlog.add(1, {f"m{n}": 1.0 for n in range(MOST_METRICS)}, ITERATION)
    with pytest.raises(MetricsBroken, match="metric one_more: a job has at most 200"):
        backlog.add(2, {"one_more": 1.0}, ITERATION)
    backlog.add(2, {"m0": 1.0}, ITERATION)
    assert len(listed(backlog.take(2))) == MOST_METRICS + 1


def test_a_training_that_ends_may_not_leave_values_without_a_row() -> None:
    backlog = MetricBacklog()
    backlog.add(4, {"a": 1.0}, ITERATION)
    backlog.check_rows_came(4)
    with pytest.raises(MetricsBroken, match="metric a at iteration 4, which has no row"):
        backlog.check_rows_came(3)
