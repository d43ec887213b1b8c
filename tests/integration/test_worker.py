"""A whole worker process: tickets, slots, the fleet, brokers that fail, and leaving."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest
import redis
from pydantic import SecretStr
from sqlalchemy import Engine, Row, func, select, update

from cli.stack.valkey import EmbeddedValkey
from foundation.settings import BrokerSettings, Settings
from models.domain.lifecycle import Wish
from models.tables import progress, workers
from services.broker import make_celery, ticket, tickets_waiting
from services.database import transaction
from tests.bookings import attempts_of, book_job, job_of
from tests.processes import python
from tests.versions import on_newest_postgres
from tests.waiting import wait_until

pytestmark = on_newest_postgres

SOON = 60.0
RUN = "from worker.main import run_worker, Settings; run_worker(Settings(), train={train!r})"


def worker(
    settings: Settings, log: Path, *, train: str = "steady", **extra: str
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """A worker whose trainers only pretend."""
    program = RUN.format(train=f"tests.pretenders:{train}")
    return python(settings, "-c", program, log=log, extra=extra)


def in_fleet(engine: Engine) -> list[Row[Any]]:
    with transaction(engine) as connection:
        return list(connection.execute(select(workers).order_by(workers.c.name)))


def wait_for_workers(engine: Engine, count: int = 1) -> list[Row[Any]]:
    return wait_until(
        lambda: found if len(found := in_fleet(engine)) >= count else None, SOON, "a worker"
    )


def post(engine: Engine, settings: Settings, *, wake: bool = True, **spec: object) -> int:
    """Submit as the API does: commit, then a ticket."""
    with transaction(engine) as connection:
        key = book_job(connection, **spec)  # type: ignore[arg-type]
    if wake:
        ticket(make_celery(settings.broker), str(spec.get("queue", "default")))
    return key


def wait_for_state(engine: Engine, key: int, state: str, seconds: float = SOON) -> Row[Any]:
    return wait_until(
        lambda: job if (job := job_of(engine, key)).state == state else None, seconds, state
    )


def wait_for_rows(engine: Engine, key: int) -> Row[Any]:
    return wait_until(lambda: job if (job := job_of(engine, key)).rows else None, SOON, "rows")


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def tell(server: EmbeddedValkey, number: signal.Signals) -> None:
    if server.pid is not None:
        os.kill(server.pid, number)


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """A broker that this test may stop."""
    server = EmbeddedValkey(tmp_path / "valkey")
    server.start()
    try:
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            tell(server, signal.SIGCONT)
        server.stop()


@pytest.fixture
def own_settings(settings: Settings, own_broker: EmbeddedValkey) -> Settings:
    broker = BrokerSettings(url=SecretStr(own_broker.url))
    return settings.model_copy(update={"broker": broker})


def test_jobs_run_from_ticket_to_end_and_the_first_row_is_there_soon(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    seconds = []
    with worker(settings, tmp_path / "log") as process:
        (row,) = wait_for_workers(engine)
        assert (row.pid, row.slots, row.devices) == (process.pid, 1, ["cpu"])
        post(engine, settings)
        for _ in range(5):
            started = time.monotonic()
            key = post(engine, settings, pause_seconds=0.01)
            wait_for_rows(engine, key)
            seconds.append(time.monotonic() - started)
            wait_for_state(engine, key, "succeeded")
        # A job that comes while the worker is full starts when the one before it ends.
        keys = [post(engine, settings) for _ in range(5)]
        for key in keys:
            wait_for_state(engine, key, "succeeded")
    # A figure for a quiet machine is 0.1; the tests' machine is seldom quiet.
    assert median(seconds) < 1.0
    assert in_fleet(engine) == []
    assert process.returncode == 0


def test_a_job_whose_ticket_was_lost_runs_all_the_same(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    with worker(settings, tmp_path / "log"):
        wait_for_workers(engine)
        key = post(engine, settings, wake=False)
        wait_for_state(engine, key, "succeeded")
        # One slot, many tickets: they are not hoarded, and no job is lost with them.
        keys = [post(engine, settings, wake=False) for _ in range(3)]
        for each in keys:
            wait_for_state(engine, each, "succeeded")


def test_one_ticket_wakes_every_slot_that_has_work(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    with worker(
        settings,
        tmp_path / "log",
        train="endless",
        GRADBOOK_WORKER_SLOTS="3",
        GRADBOOK_WORKER_RECONCILE_SECONDS="600",
    ):
        wait_for_workers(engine)
        with transaction(engine) as connection:
            keys = [book_job(connection, pause_seconds=0.02) for _ in range(4)]
        ticket(make_celery(settings.broker), "default")
        for key in keys[:3]:
            wait_for_state(engine, key, "running")
        assert job_of(engine, keys[3]).state == "queued"
        with transaction(engine) as connection:
            connection.execute(
                update(progress)
                .where(progress.c.job_key == keys[0])
                .values(wanted=Wish.CANCEL, wanted_at=func.clock_timestamp())
            )
        wait_for_state(engine, keys[0], "cancelled", 5)
        wait_for_state(engine, keys[3], "running")
        slots = {attempts_of(engine, key)[0].slot for key in keys[:3]}
        assert slots == {0, 1, 2}


def test_a_full_worker_leaves_tickets_to_others(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    with worker(settings, tmp_path / "one", train="endless", GRADBOOK_WORKER_NAME="one"):
        wait_for_workers(engine)
        first = post(engine, settings, pause_seconds=0.02)
        wait_for_state(engine, first, "running")
        with worker(settings, tmp_path / "two", train="endless", GRADBOOK_WORKER_NAME="two"):
            wait_for_workers(engine, 2)
            second = post(engine, settings, pause_seconds=0.02)
            wait_for_state(engine, second, "running", 10)
            assert attempts_of(engine, second)[0].worker == "two"


def test_a_worker_takes_only_from_its_queues(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    with worker(settings, tmp_path / "log", GRADBOOK_WORKER_QUEUES="fast, default"):
        (row,) = wait_for_workers(engine)
        assert row.queues == ["fast", "default"]
        other = post(engine, settings, queue="slow")
        done = [post(engine, settings, queue=queue) for queue in ("fast", "default")]
        for key in done:
            wait_for_state(engine, key, "succeeded")
        assert job_of(engine, other).state == "queued"


def test_a_broker_that_hangs_holds_up_nothing_for_good(
    engine: Engine, own_settings: Settings, own_broker: EmbeddedValkey, tmp_path: Path
) -> None:
    with worker(own_settings, tmp_path / "log", train="endless"):
        wait_for_workers(engine)
        running = post(engine, own_settings, pause_seconds=0.02)
        wait_for_rows(engine, running)
        tell(own_broker, signal.SIGSTOP)
        queued = post(engine, own_settings, wake=False, pause_seconds=0.02)
        seen = job_of(engine, running).rows
        wait_until(lambda: job_of(engine, running).rows > seen + 100, SOON, "training goes on")
        tell(own_broker, signal.SIGCONT)
        with transaction(engine) as connection:
            connection.execute(
                update(progress)
                .where(progress.c.job_key == running)
                .values(wanted=Wish.STOP, wanted_at=func.clock_timestamp())
            )
        wait_for_state(engine, running, "succeeded", 10)
        wait_for_state(engine, queued, "running")


def test_a_broker_that_comes_back_empty_costs_no_job(
    engine: Engine, own_settings: Settings, own_broker: EmbeddedValkey, tmp_path: Path
) -> None:
    with worker(own_settings, tmp_path / "log"):
        wait_for_workers(engine)
        wait_for_state(engine, post(engine, own_settings), "succeeded")
        own_broker.stop()
        key = post(engine, own_settings, wake=False)
        own_broker.start()
        assert own_broker.url == own_settings.broker.url.get_secret_value()  # type: ignore[union-attr]
        wait_for_state(engine, key, "succeeded")
        with redis.Redis.from_url(own_broker.url) as client:
            assert client.llen("gradbook.default") == 0
        app = make_celery(own_settings.broker)
        assert tickets_waiting(app, "default") == 0


def test_a_worker_that_is_told_to_leave_twice_leaves_and_loses_no_work(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    with worker(
        settings, tmp_path / "log", train="deaf", GRADBOOK_WORKER_GRACE_SECONDS="5"
    ) as process:
        wait_for_workers(engine)
        (settings.home / "datasets").mkdir(parents=True, exist_ok=True)
        key = post(engine, settings)
        wait_for_rows(engine, key)
        (attempt,) = attempts_of(engine, key)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    job = job_of(engine, key)
    assert (job.state, job.rows, job.rewinds, job.failures) == ("queued", 1, 0, 0)
    assert attempts_of(engine, key)[0].outcome == "preempted"
    assert in_fleet(engine) == []
    assert gone(attempt.pid)


def test_trainers_of_a_worker_that_was_killed_end_by_themselves(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    with worker(settings, tmp_path / "log", train="endless") as process:
        wait_for_workers(engine)
        key = post(engine, settings, pause_seconds=0.02)
        wait_for_rows(engine, key)
        (attempt,) = attempts_of(engine, key)
        process.kill()
        process.wait()
        wait_until(lambda: gone(attempt.pid), 5, "the trainer is gone")


def test_trainers_of_a_worker_that_was_stopped_end_after_a_lease(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    with worker(
        settings, tmp_path / "log", train="endless", GRADBOOK_WORKER_LEASE_SECONDS="2"
    ) as process:
        wait_for_workers(engine)
        key = post(engine, settings, pause_seconds=0.02)
        wait_for_rows(engine, key)
        (attempt,) = attempts_of(engine, key)
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: gone(attempt.pid), 10, "the trainer is gone")
        process.send_signal(signal.SIGCONT)
        ended = wait_until(
            lambda: found if (found := attempts_of(engine, key)[0]).outcome else None, SOON, "end"
        )
        assert (ended.outcome, ended.error["type"]) == ("lost", "Lost")
        assert job_of(engine, key).failures == 1
