"""Simulated supervisors flush when a worker does, and nothing that was due is left out."""

from uuid import uuid4

import numpy as np
import pytest

from benchmarks import fleet
from benchmarks.fleet import Load, Training
from services.recording import Owner
from worker import supervisor
from worker.training import recorder

BEGAN = 100.0


def _training(load: Load) -> Training:
    return Training(Owner(1, 1, 6.0), uuid4(), load, BEGAN)


def test_the_pace_is_the_workers() -> None:
    assert fleet.DELIVER_SECONDS == recorder.DELIVER_SECONDS
    assert fleet.BREATH_SECONDS == supervisor.BREATH_SECONDS


@pytest.mark.parametrize(
    ("iterations_a_second", "rows_a_delivery", "flushes_a_second"),
    [
        (0.5, 1, 2.0),
        (1.0, 1, 2.0),
        (4.0, 1, 4.0),
        (10.0, 3, 10 / 3),
        (20.0, 5, 4.0),
        (800.0, 200, 4),
    ],
)
def test_flushes_come_with_deliveries_and_a_while_after_a_flush_without_one(
    iterations_a_second: float, rows_a_delivery: int, flushes_a_second: float
) -> None:
    load = Load(iterations_a_second, layers=3)
    assert load.rows_a_delivery == rows_a_delivery
    training, made, seconds = _training(load), 0, 60
    while training.due <= BEGAN + seconds + 1e-6:
        now = training.due
        training.take(now)
        training.flushed(now)
        made += 1
    assert load.flushes_a_second == pytest.approx(flushes_a_second)
    assert made == pytest.approx(flushes_a_second * seconds, abs=1)
    assert training.rows == pytest.approx(iterations_a_second * seconds, abs=rows_a_delivery)


def test_a_flush_that_is_late_takes_all_that_was_due_and_counts_from_then() -> None:
    training = _training(Load(20.0, layers=3))
    page, due = training.take(BEGAN + 1.1)
    assert page.rows is not None
    assert due == (BEGAN + 0.25, BEGAN + 0.5, BEGAN + 0.75, BEGAN + 1.0)
    assert page.rows["iteration"].tolist() == list(range(1, 21))
    training.flushed(BEGAN + 5.0)
    assert training.due == BEGAN + 5.0 + fleet.BREATH_SECONDS


def test_pages_go_on_from_each_other_with_their_epochs_and_readings() -> None:
    training = _training(Load(800.0, layers=3))
    pages = []
    for _ in range(20):
        now = training.due
        pages.append(training.take(now)[0])
        training.flushed(now)
    rows = np.concatenate([page.rows["iteration"] for page in pages if page.rows is not None])
    assert rows.tolist() == list(range(1, training.rows + 1))
    epochs = [epoch["epoch"] for page in pages for epoch in page.epochs]
    assert epochs == list(range(1, fleet.epochs_of(training.rows) + 1))
    readings = [reading for page in pages for each in page.layers for reading in each.readings]
    assert len(readings) == fleet.readings_of(training.rows, 3)
    assert pages[0].new_session
    assert not pages[1].new_session
