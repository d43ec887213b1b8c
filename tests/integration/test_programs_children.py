"""Programs with processes of their own: how these end, and how the program's end is told."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from foundation.settings import Settings
from models.domain.lifecycle import Wish
from tests.bookings import attempts_of
from tests.installed import write_package
from tests.integration.supervised import program

pytestmark = pytest.mark.newest_postgres

PROGRAMS = """
import signal, subprocess, time

import torch
from torch.utils.data import DataLoader, TensorDataset

def loads(run, iterations=None):
    # As a loader of a module's, or one that is kept: it lives until the process ends.
    global batches
    while True:
        batches = iter(DataLoader(TensorDataset(torch.arange(64)), batch_size=4, num_workers=2))
        for batch in batches:
            run.iteration(loss=1.0, samples=4)
            run.checkpoint(reached=run.iterations_done)
            if run.iterations_done == iterations:
                return
            time.sleep(0.02)

def watches(run):
    # What torch does of its loaders' workers, with processes that are quick to die.
    def mourn(number, frame):
        raise RuntimeError("a child has died")
    signal.signal(signal.SIGCHLD, mourn)
    for _ in range(20):
        subprocess.Popen(["sleep", "600"])
    run.iteration(loss=1.0, samples=1)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package of programs stands where trainers find it."""
    write_package(tmp_path / "site", "team_programs", programs=PROGRAMS)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_a_pause_is_one_while_its_loaders_have_workers(engine: Engine, settings: Settings) -> None:
    with program(engine, settings, "loads") as made:
        made.wait_for_rows(3)
        made.wish(Wish.PAUSE)
        job = made.wait()
    assert (job.state, job.error) == ("paused", None)


@pytest.mark.usefixtures("folder")
def test_a_worker_that_leaves_puts_it_back_while_its_loaders_have_workers(
    engine: Engine, settings: Settings
) -> None:
    with program(engine, settings, "loads") as made:
        made.wait_for_rows(3)
        made.shutdown.begin()
        job = made.wait()
    (tried,) = attempts_of(engine, made.key)
    assert (job.state, job.failures, tried.outcome) == ("queued", 0, "preempted")


@pytest.mark.usefixtures("folder")
def test_it_returns_while_its_loaders_have_workers(engine: Engine, settings: Settings) -> None:
    with program(engine, settings, "loads", options={"iterations": 5}) as made:
        job = made.wait()
    assert (job.state, job.stop_reason, job.error, job.rows) == ("succeeded", "returned", None, 5)


@pytest.mark.usefixtures("folder")
def test_that_its_processes_are_ended_is_no_failure_of_its_own(
    engine: Engine, settings: Settings
) -> None:
    with program(engine, settings, "watches") as made:
        job = made.wait()
    assert (job.state, job.stop_reason, job.error, job.rows) == ("succeeded", "returned", None, 1)
