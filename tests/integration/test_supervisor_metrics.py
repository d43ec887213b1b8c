"""Metrics from a real trainer's process to the book, through its death and its mistakes."""

import math
import os
import signal
from typing import Any

from sqlalchemy import Engine

from foundation.settings import Settings
from services.database import transaction
from tests.integration.supervised import Attempt, attempt, only_attempt, with_worker
from tests.measured import booked_metrics, booked_values
from tests.pretenders import BATCHES


def values_of(engine: Engine, key: int) -> dict[str, list[tuple[Any, ...]]]:
    with transaction(engine) as connection:
        return booked_values(connection, key)


def assert_told(engine: Engine, key: int, iterations: int) -> None:
    """Every value that `measuring` tells up to there, each once, and nothing else."""
    epochs = range(1, iterations // BATCHES + 1)
    assert values_of(engine, key) == {
        "tell/tale": [(n, n, math.sqrt(n)) for n in range(1, iterations + 1)],
        "epoch.number": [(n, n * BATCHES, n) for n in epochs],
    }
    with transaction(engine) as connection:
        booked = booked_metrics(connection, key)
    found = {
        name: (row["kind"], row["count"], row["last"], row["min"], row["max"])
        for name, row in booked.items()
    }
    last = math.sqrt(iterations)
    assert found == {
        "tell/tale": ("iteration", iterations, last, 1.0, last),
        "epoch.number": ("epoch", len(epochs), len(epochs), 1.0, len(epochs)),
    }


def test_every_value_that_a_trainer_tells_is_in_the_book(
    engine: Engine, settings: Settings
) -> None:
    with attempt(engine, settings, "measuring", epochs=3) as run:
        job = run.wait()
    assert (job.state, job.rows) == ("succeeded", 3 * BATCHES)
    assert_told(engine, run.key, 3 * BATCHES)


def test_a_value_is_booked_in_the_flush_that_brings_its_row(
    engine: Engine, settings: Settings
) -> None:
    with attempt(engine, settings, "measuring", epochs=5, pause_seconds=0.03) as run:
        reached = 0
        while reached < 4 * BATCHES:
            run.wait_for_rows(reached + 1)
            # One statement, one moment.
            with transaction(engine) as connection:
                rows, values = connection.exec_driver_sql(
                    "SELECT (SELECT max(iteration) FROM iterations), (SELECT max(iteration)"
                    " FROM v_metric_values WHERE name = 'tell/tale')"
                ).one()
            assert rows == values
            reached = rows
        run.wait()


def test_values_whose_row_is_late_are_not_booked_before_it(
    engine: Engine, settings: Settings
) -> None:
    with attempt(engine, with_worker(settings, flush_seconds=0.2), "holding_its_breath") as run:
        job = run.wait()
    assert (job.state, job.rows, job.error) == ("succeeded", 1, None)
    assert values_of(engine, run.key) == {"early": [(1, 1, 0.5)]}


def test_values_whose_row_never_came_die_with_their_trainer(
    engine: Engine, settings: Settings
) -> None:
    with attempt(engine, settings, "holding_its_breath", epochs=1) as run:
        job = run.wait()
    assert (job.state, job.rows) == ("queued", 0)
    assert only_attempt(engine, run.key).outcome == "killed"
    assert values_of(engine, run.key) == {}


def test_values_after_the_checkpoint_of_a_trainer_that_died_are_told_once_in_the_end(
    engine: Engine, settings: Settings
) -> None:
    run: Attempt | None = None
    for rows in (BATCHES + 4, 2 * BATCHES + 1):
        with attempt(engine, settings, "measuring", again=run, epochs=4, pause_seconds=0.05) as run:
            run.wait_for_rows(rows)
            os.kill(run.pid, signal.SIGKILL)
            cut = run.wait()
            assert cut.state == "queued"
    with attempt(engine, settings, "measuring", again=run) as run:
        job = run.wait()
    assert (job.state, job.rows) == ("succeeded", 4 * BATCHES)
    assert job.rewinds >= 1
    assert_told(engine, run.key, 4 * BATCHES)


def test_a_second_value_of_an_iteration_ends_the_job_and_says_so(
    engine: Engine, settings: Settings
) -> None:
    with attempt(engine, settings, "repeating_itself") as run:
        job = run.wait()
    assert (job.state, job.stop_reason, job.rows) == ("failed", "error", 2)
    message = "metric twice at iteration 2 comes after iteration 2"
    assert (job.error["type"], job.error["message"]) == ("MetricsBroken", message)
    # The trainer's own line.
    assert 'sink.metrics(iteration, {"twice": 1.0})' in job.error["traceback"]
    assert values_of(engine, run.key) == {"twice": [(1, 1, 1.0), (2, 2, 1.0)]}


def test_a_value_whose_row_never_came_ends_the_job_and_says_so(
    engine: Engine, settings: Settings
) -> None:
    with attempt(engine, settings, "telling_of_tomorrow") as run:
        job = run.wait()
    assert (job.state, job.stop_reason, job.rows) == ("failed", "error", 2)
    message = "metric nowhere at iteration 3, which has no row"
    assert (job.error["type"], job.error["message"]) == ("MetricsBroken", message)
    assert values_of(engine, run.key) == {"here": [(1, 2, 1.0)]}


def test_what_an_earlier_attempt_has_told_is_not_told_again(
    engine: Engine, settings: Settings
) -> None:
    with attempt(engine, settings, "measuring", epochs=3, pause_seconds=0.05) as first:
        first.wait_for_rows(BATCHES + 1)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    with attempt(engine, settings, "forgetting_what_it_told", again=first) as run:
        job = run.wait()
    assert (job.state, job.stop_reason) == ("failed", "error")
    assert job.error["type"] == "MetricsBroken"
    assert values_of(engine, run.key)["epoch.number"] == [(1, BATCHES, 1)]
