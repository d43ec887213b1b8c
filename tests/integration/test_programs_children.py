"""Programs with processes of their own: how these end, and how the program's end is told."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from foundation.settings import Settings
from models.domain.lifecycle import Wish
from tests.bookings import attempts_of
from tests.installed import write_package
from tests.integration.supervised import gone, program
from tests.waiting import wait_until

pytestmark = pytest.mark.newest_postgres

PROGRAMS = """
import os, signal, subprocess, sys, time
from pathlib import Path

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

def dies(run, folder):
    run.iteration(loss=1.0, samples=1)
    hidden = [sys.executable, "-c", "import time; time.sleep(600)"]
    Path(folder, "pid").write_text(str(subprocess.Popen(hidden, start_new_session=True).pid))
    os.kill(os.getpid(), signal.SIGSEGV)

LINES = b"x\\n" * 50_000

def leaves_one_that_prints(run, folder):
    run.iteration(loss=1.0, samples=1)
    if os.fork() == 0:
        os.setsid()
        Path(folder, "pid").write_text(str(os.getpid()))
        while True:
            os.write(1, LINES)
    while not Path(folder, "pid").exists():
        time.sleep(0.01)
    os._exit(3)
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


def test_what_it_has_started_ends_with_it_also_where_it_dies_by_itself(
    engine: Engine, settings: Settings, folder: Path
) -> None:
    with program(engine, settings, "dies", options={"folder": str(folder)}) as made:
        made.wait()
    (tried,) = attempts_of(engine, made.key)
    assert (tried.outcome, tried.signal) == ("error", 11)
    pid = int((folder / "pid").read_text())
    wait_until(lambda: gone(pid), 10, "what it has hidden is gone")


def test_one_that_is_left_and_prints_for_ever_does_not_hold_the_slot(
    engine: Engine, settings: Settings, folder: Path
) -> None:
    options = {"folder": str(folder)}
    with program(engine, settings, "leaves_one_that_prints", options=options) as made:
        made.wait()
    (tried,) = attempts_of(engine, made.key)
    assert tried.exit_code == 3
    pid = int((folder / "pid").read_text())
    wait_until(lambda: gone(pid), 10, "its pipe is closed, and it is gone")
