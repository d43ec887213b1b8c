"""Attempts that are followed by others: paused, left off, died, and gone on from a checkpoint."""

import hashlib
import os
import signal
import time

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, select

from foundation.settings import DatabaseSettings, Settings
from models.domain.lifecycle import Wish
from models.tables import checkpoints
from services.database import make_engine, transaction
from services.steering import resume
from tests.bookings import attempts_of, events_of, job_of
from tests.integration.supervised import SOON, attempt, gone, only_attempt, with_worker
from tests.pretenders import BATCHES, make_rows
from tests.severed import severed_way
from tests.versions import on_newest_postgres
from tests.waiting import wait_until
from worker import supervisor

pytestmark = on_newest_postgres


def test_a_worker_that_leaves_puts_the_job_back_with_what_it_has(
    engine: Engine, settings: Settings
) -> None:
    with attempt(engine, settings, "endless", pause_seconds=0.01) as run:
        run.wait_for_rows(10)
        run.shutdown.begin()
        job = run.wait(5)
    assert (job.state, job.failures, job.not_before) == ("queued", 0, None)
    assert job.rows == job.iteration >= 10
    assert only_attempt(engine, run.key).outcome == "preempted"
    with transaction(engine) as connection:
        assert connection.scalar(select(checkpoints.c.iteration)) == job.iteration


@pytest.mark.parametrize("train", ["deaf", "deaf_at_load"])
def test_a_trainer_that_does_not_hear_that_its_worker_leaves_is_ended_within_the_grace(
    engine: Engine, settings: Settings, train: str
) -> None:
    with attempt(engine, with_worker(settings, grace_seconds=3.0), train) as run:
        pid = run.pid
        started = time.monotonic()
        run.shutdown.begin()
        job = run.wait(5)
    assert time.monotonic() - started < 3
    assert gone(pid)
    assert (job.state, job.failures) == ("queued", 0)
    found = only_attempt(engine, run.key)
    assert (found.outcome, found.signal) == ("preempted", signal.SIGKILL)


def test_a_pause_waits_for_what_is_saved(engine: Engine, settings: Settings) -> None:
    with attempt(engine, settings, "endless", pause_seconds=0.01) as run:
        run.wait_for_rows(5)
        run.wish(Wish.PAUSE)
        job = run.wait()
    assert (job.state, job.wanted, job.failures, job.phase) == ("paused", None, 0, "queued")
    assert job.finished_at is None
    found = only_attempt(engine, run.key)
    assert (found.outcome, found.exit_code, found.last_iteration) == ("paused", 0, job.rows)


def test_a_trainer_that_dies_is_tried_again_after_a_pause_that_doubles(
    engine: Engine, settings: Settings
) -> None:
    run = None
    for failures, seconds in ((1, 2), (2, 4)):
        with attempt(engine, settings, "killed", again=run) as run:
            job = run.wait()
        assert (job.state, job.failures, job.error) == ("queued", failures, None)
        ended = attempts_of(engine, run.key)[-1]
        assert (ended.outcome, ended.signal) == ("killed", signal.SIGKILL)
        assert seconds - 1 < (job.not_before - ended.ended_at).total_seconds() < seconds + 1
        last = events_of(engine, run.key)[-1].data
        assert (last["outcome"], last["failures"]) == ("killed", failures)
        assert last["retry_in_seconds"] == seconds
    with attempt(engine, settings, "killed", again=run) as run:
        job = run.wait()
    assert (job.state, job.stop_reason, job.error["type"]) == ("failed", "attempts", "Killed")
    assert [each.number for each in attempts_of(engine, run.key)] == [1, 2, 3]


def test_the_next_attempt_goes_on_from_the_checkpoint_that_is_booked(
    engine: Engine, settings: Settings
) -> None:
    with attempt(engine, settings, "steady", epochs=5, pause_seconds=0.02) as first:
        first.wait_for_rows(25)
        os.kill(first.pid, signal.SIGKILL)
        cut = first.wait()
    assert (cut.state, cut.rewinds) == ("queued", 0)
    with attempt(engine, settings, "steady", again=first) as run:
        job = run.wait()
    assert (job.state, job.rows, job.iteration, job.rewinds) == ("succeeded", 50, 50, 1)
    (rewound,) = [event for event in events_of(engine, run.key) if event.type == "rewound"]
    assert rewound.data == {"from": cut.rows, "to": cut.rows // BATCHES * BATCHES}
    assert rewound.attempt == 2
    losses = make_rows(1, 50)["loss"].tobytes()
    assert job.loss_sha256 == hashlib.sha256(losses).hexdigest()
    tries = attempts_of(engine, run.key)
    assert [(each.first_iteration, each.last_iteration) for each in tries] == [
        (1, cut.rows),
        (rewound.data["to"] + 1, 50),
    ]


@pytest.mark.parametrize("end", ["killed", "cancelled"])
def test_an_attempt_that_ends_the_job_while_it_loads_hashes_what_others_have_written(
    engine: Engine, settings: Settings, end: str
) -> None:
    with attempt(engine, settings, "endless", pause_seconds=0.01, max_attempts=1) as first:
        first.wait_for_rows(15)
        first.wish(Wish.PAUSE)
        paused = first.wait()
    with transaction(engine) as connection:
        assert resume(connection, first.claim.job_id) == "default"
    with attempt(engine, settings, "deaf_at_load", again=first) as run:
        if end == "killed":
            os.kill(run.pid, signal.SIGKILL)
        else:
            run.wish(Wish.CANCEL)
        job = run.wait()
    assert (job.state, job.rows) == ({"killed": "failed"}.get(end, end), paused.rows)
    losses = make_rows(1, paused.rows)["loss"].tobytes()
    assert job.loss_sha256 == hashlib.sha256(losses).hexdigest()


def test_rows_that_an_outage_has_heaped_up_are_written_in_several_flushes(
    engine: Engine, settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "MOST_ROWS", 7)
    with severed_way(database_url) as way:
        theirs = make_engine(DatabaseSettings(url=SecretStr(way.url)), application_name="severed")
        with attempt(theirs, settings, "steady", epochs=20, pause_seconds=0.01) as run:
            wait_until(lambda: job_of(engine, run.key).rows >= 20, SOON, "rows")
            way.shut()
            shut_at = time.monotonic()
            wait_until(lambda: time.monotonic() - shut_at > 1, 5, "an outage of a second")
            way.open()
            job = run.wait()
        theirs.dispose()
    assert (job.state, job.rows) == ("succeeded", 200)
    losses = make_rows(1, 200)["loss"].tobytes()
    assert job.loss_sha256 == hashlib.sha256(losses).hexdigest()
