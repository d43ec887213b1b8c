"""Workers that die or are cut off, and databases that do: jobs go on, none for no reason."""

import contextlib
import hashlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from cli.stack.postgres import EmbeddedPostgres
from foundation.settings import DatabaseSettings, Settings
from migrations.run import migrate
from services.database import make_engine
from tests.bookings import attempts_of, events_of, job_of
from tests.integration.test_worker import (
    gone,
    post,
    wait_for_rows,
    wait_for_state,
    wait_for_workers,
    worker,
)
from tests.pretenders import make_rows
from tests.versions import NEWEST, on_newest_postgres
from tests.waiting import wait_until

pytestmark = on_newest_postgres

SOON = 60.0
SPEC: dict[str, Any] = {"epochs": 40, "pause_seconds": 0.02}
BACK_SECONDS = 15.0
"""By default a job whose worker is gone is back in the queue within this time."""


def digest_of(rows: int) -> str:
    return hashlib.sha256(make_rows(1, rows)["loss"].tobytes()).hexdigest()


def test_a_job_whose_worker_was_killed_goes_on_elsewhere(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    with worker(settings, tmp_path / "one", GRADBOOK_WORKER_NAME="one") as first:
        wait_for_workers(engine)
        key = post(engine, settings, **SPEC)
        wait_until(lambda: job_of(engine, key).rows > 25, SOON, "rows")
        with worker(settings, tmp_path / "two", GRADBOOK_WORKER_NAME="two"):
            wait_for_workers(engine, 2)
            before = job_of(engine, key).rows
            killed_at = time.monotonic()
            first.kill()
            first.wait()
            wait_until(lambda: job_of(engine, key).failures == 1, BACK_SECONDS, "it is back")
            back_after = time.monotonic() - killed_at
            job = wait_for_state(engine, key, "succeeded")
    assert back_after < BACK_SECONDS
    assert (job.rows, job.iteration, job.loss_sha256) == (400, 400, digest_of(400))
    lost, last = attempts_of(engine, key)
    assert (lost.worker, lost.outcome) == ("one", "lost")
    assert lost.last_iteration >= before
    assert "one" in lost.error["message"]
    assert (last.worker, last.outcome) == ("two", "succeeded")
    (rewound,) = [event.data for event in events_of(engine, key) if event.type == "rewound"]
    assert rewound == {"from": lost.last_iteration, "to": last.first_iteration - 1}


def test_a_worker_that_was_cut_off_writes_nothing_once_its_lease_is_taken(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    short = {"GRADBOOK_WORKER_LEASE_SECONDS": "2", "GRADBOOK_WORKER_RECONCILE_SECONDS": "0.5"}
    with worker(settings, tmp_path / "one", GRADBOOK_WORKER_NAME="one", **short) as first:
        wait_for_workers(engine)
        key = post(engine, settings, **SPEC)
        wait_until(lambda: job_of(engine, key).rows > 25, SOON, "rows")
        with worker(settings, tmp_path / "two", GRADBOOK_WORKER_NAME="two", **short):
            wait_for_workers(engine, 2)
            pid = attempts_of(engine, key)[0].pid
            first.send_signal(signal.SIGSTOP)
            wait_until(lambda: len(attempts_of(engine, key)) == 2, SOON, "another attempt")
            assert gone(pid)
            first.send_signal(signal.SIGCONT)
            job = wait_for_state(engine, key, "succeeded")
    assert (job.rows, job.loss_sha256, job.failures) == (400, digest_of(400), 1)
    assert [each.outcome for each in attempts_of(engine, key)] == ["lost", "succeeded"]
    assert "attempt.fenced_off" in (tmp_path / "one").read_text()


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A database server that this test may stop."""
    server = EmbeddedPostgres(tmp_path / "postgres", version=NEWEST)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def own_settings(settings: Settings, own_postgres: EmbeddedPostgres) -> Settings:
    made = settings.model_copy(
        update={"database": DatabaseSettings(url=SecretStr(own_postgres.url))}
    )
    engine = make_engine(made.database, application_name="tests")
    migrate(engine)
    engine.dispose()
    return made


@pytest.fixture
def own_engine(own_settings: Settings) -> Iterator[Engine]:
    engine = make_engine(own_settings.database, application_name="tests")
    yield engine
    engine.dispose()


SHORT = {
    "GRADBOOK_WORKER_LEASE_SECONDS": "1.5",
    "GRADBOOK_WORKER_RECONCILE_SECONDS": "0.3",
    "GRADBOOK_WORKER_GRACE_SECONDS": "4",
}


def test_no_healthy_job_is_reaped_after_an_outage_of_several_leases(
    own_engine: Engine, own_settings: Settings, own_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """Two workers, so that each could reap the other's."""
    with contextlib.ExitStack() as workers:
        for name in ("one", "two"):
            workers.enter_context(
                worker(own_settings, tmp_path / name, GRADBOOK_WORKER_NAME=name, **SHORT)
            )
        wait_for_workers(own_engine, 2)
        keys = [post(own_engine, own_settings, epochs=60, pause_seconds=0.02) for _ in range(2)]
        for key in keys:
            wait_for_rows(own_engine, key)
        own_postgres.stop()
        away_at = time.monotonic()
        wait_until(lambda: time.monotonic() - away_at > 5, 10, "an outage of five seconds")
        own_postgres.start()
        own_engine.dispose()
        jobs = [wait_for_state(own_engine, key, "succeeded") for key in keys]
    for key, job in zip(keys, jobs, strict=True):
        assert (job.rows, job.rewinds, job.loss_sha256) == (600, 0, digest_of(600))
        (only,) = attempts_of(own_engine, key)
        assert only.outcome == "succeeded"
        assert only.waited_seconds > 4
        told = [event.data for event in events_of(own_engine, key) if event.type == "warning"]
        assert [each["message"] for each in told] == ["the database was away"]


def test_a_worker_leaves_within_its_grace_while_the_database_is_away(
    own_engine: Engine, own_settings: Settings, own_postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """What it can't book any more is found out by the next worker, and goes on."""
    with worker(own_settings, tmp_path / "one", **SHORT) as process:
        wait_for_workers(own_engine)
        key = post(own_engine, own_settings, epochs=30, pause_seconds=0.02)
        wait_until(lambda: job_of(own_engine, key).rows > 15, SOON, "rows")
        pid = attempts_of(own_engine, key)[0].pid
        own_postgres.stop()
        told_at = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        assert time.monotonic() - told_at < 6
        assert gone(pid)
    own_postgres.start()
    own_engine.dispose()
    assert job_of(own_engine, key).state == "running"
    with worker(own_settings, tmp_path / "two", **SHORT):
        job = wait_for_state(own_engine, key, "succeeded")
    assert (job.rows, job.loss_sha256) == (300, digest_of(300))
    assert [each.outcome for each in attempts_of(own_engine, key)] == ["lost", "succeeded"]
