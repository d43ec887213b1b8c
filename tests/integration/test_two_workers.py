"""Two workers with unlike devices: a job starts where it fits, whoever gets its ticket."""

import contextlib
import subprocess
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine

from foundation.settings import Settings
from services.broker import make_celery, tickets_waiting
from tests.bookings import attempts_of
from tests.integration.test_worker import post, wait_for_state, wait_for_workers
from tests.processes import python
from tests.versions import on_newest_postgres
from tests.waiting import wait_until
from worker.rounds import HANDOVER_SECONDS, Reconciler, stop

pytestmark = on_newest_postgres

START_SECONDS = 3.0
JOBS = 10
RUN = (
    "from worker.main import run_worker, Settings; "
    "run_worker(Settings(), train='tests.pretenders:{train}', cuda_devices={cuda_devices})"
)


def one_slot(
    settings: Settings, folder: Path, *, cuda_devices: int, train: str = "endless", **extra: str
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """A worker whose only slot is on the CPU, or on what it takes for a GPU."""
    name = "gpu" if cuda_devices else "plain"
    program = RUN.format(train=train, cuda_devices=cuda_devices)
    environment = {"GRADBOOK_WORKER_NAME": name, **extra}
    return python(settings, "-c", program, log=folder / name, extra=environment)


@pytest.mark.parametrize("wake", [True, False], ids=["with its ticket", "its ticket lost"])
def test_beside_a_full_worker_a_job_starts_within_three_seconds(
    engine: Engine, settings: Settings, tmp_path: Path, *, wake: bool
) -> None:
    with one_slot(settings, tmp_path, cuda_devices=0):
        wait_for_workers(engine)
        wait_for_state(engine, post(engine, settings, pause_seconds=0.02), "running")
        with one_slot(settings, tmp_path, cuda_devices=1):
            wait_for_workers(engine, 2)
            key = post(engine, settings, wake=wake, device="cuda", pause_seconds=0.02)
            wait_for_state(engine, key, "running", START_SECONDS)
    assert [(each.worker, each.device) for each in attempts_of(engine, key)] == [("gpu", "cuda:0")]


@pytest.mark.parametrize("wake", [True, False], ids=["with its ticket", "its ticket lost"])
def test_beside_a_free_worker_that_cannot_use_its_ticket_a_job_starts_within_three_seconds(
    engine: Engine, settings: Settings, tmp_path: Path, *, wake: bool
) -> None:
    # A ticket that is there must do by itself, without a reconciler that makes one up.
    extra = {"GRADBOOK_WORKER_RECONCILE_SECONDS": "600"} if wake else {}
    with (
        one_slot(settings, tmp_path, cuda_devices=0, train="steady", **extra),
        one_slot(settings, tmp_path, cuda_devices=1, train="steady", **extra),
    ):
        wait_for_workers(engine, 2)
        # Whose turn it is to get a ticket is chance.
        for _ in range(JOBS):
            key = post(engine, settings, wake=wake, device="cuda")
            wait_for_state(engine, key, "succeeded", START_SECONDS)
            assert attempts_of(engine, key)[0].worker == "gpu"


def test_a_ticket_that_is_handed_over_time_after_time_is_handed_over_slowly(
    engine: Engine, settings: Settings
) -> None:
    app = make_celery(settings.broker)
    reconciler = Reconciler(engine, app, 600)
    reconciler.round.start()
    started_at = time.monotonic()

    def handed_over() -> int:
        reconciler.hand_over("default")
        return tickets_waiting(app, "default")

    wait_until(lambda: handed_over() == 1, 10, "the first goes at once")
    wait_until(lambda: handed_over() == 3, 10, "two more")
    assert time.monotonic() - started_at > 2 * HANDOVER_SECONDS
    # What fits here is not held up by that.
    reconciler.pass_on("default")
    wait_until(lambda: tickets_waiting(app, "default") == 4, HANDOVER_SECONDS, "another at once")
    stop([reconciler.round], 10)
