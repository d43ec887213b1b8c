"""Programs that do what they should not: bounded, named, and the worker goes on."""

import os
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import Engine, Row, func, select, text

from foundation.settings import Settings
from models.domain.lifecycle import Wish
from models.tables import artifacts, epochs, iterations, logs
from services.database import transaction
from tests.bookings import attempts_of
from tests.installed import write_package
from tests.integration.supervised import gone, program, with_worker
from tests.waiting import wait_until

pytestmark = pytest.mark.newest_postgres

PROGRAMS = """
import os, subprocess, sys, time
from pathlib import Path

import torch
from torch.utils.data import DataLoader

def good(run, iterations=20, pause=0.0):
    network = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    run.resume(network=network, optimizer=optimizer)
    while run.iterations_done < iterations and not run.should_stop:
        loss = network(torch.rand(4, 2)).square().mean()
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        run.iteration(loss=loss, samples=4)
        if run.iterations_done % 10 == 0:
            run.epoch()
        run.checkpoint(network=network, optimizer=optimizer)
        time.sleep(pause)

def killed_once(run, folder):
    mark = Path(folder, "killed")
    def pausing():
        if run.iterations_done >= 15 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), 9)
    run_iteration = run.iteration
    def iteration(**told):
        run_iteration(**told)
        time.sleep(0.02)
        pausing()
    run.iteration = iteration
    good(run, iterations=30)

def prints(run):
    run.iteration(loss=1.0, samples=1)
    line = "x" * 1023 + "\\n"
    for _ in range(1024):
        sys.stdout.write(line * 1024)

def endless_line(run):
    run.iteration(loss=1.0, samples=1)
    for _ in range(64):
        sys.stderr.write("y" * 2**20)

def forks(run, folder):
    run.iteration(loss=1.0, samples=1)
    if os.fork() == 0:
        # It comes back from here, as if it were the trainer.
        return
    if os.fork() == 0:
        try:
            run.iteration(loss=666.0, samples=1)
        finally:
            Path(folder, "forked").write_text("told")
            os._exit(0)
    hidden = [sys.executable, "-c", "import time; time.sleep(600)"]
    ours = subprocess.Popen(hidden, start_new_session=True)
    lost = "import subprocess as s, sys; "
    lost += "print(s.Popen(sys.argv[1:], stdout=s.DEVNULL, start_new_session=True).pid)"
    told = subprocess.run([sys.executable, "-c", lost, *hidden], stdout=subprocess.PIPE, check=True)
    Path(folder, "pids").write_text(f"{ours.pid} {int(told.stdout)}")
    for batch in DataLoader(torch.arange(8), batch_size=4, num_workers=2):
        run.iteration(loss=float(batch.sum()), samples=4)
    terminated = subprocess.Popen(hidden)
    terminated.terminate()
    assert terminated.wait(10) == -15

def ignores_stop(run):
    while True:
        run.iteration(loss=1.0, samples=1)
        run.should_stop
        time.sleep(0.01)

def hides(run, folder):
    hidden = [sys.executable, "-c", "import time; time.sleep(600)"]
    ours = subprocess.Popen(hidden, start_new_session=True)
    Path(folder, "pids").write_text(str(ours.pid))
    hangs(run)

def hangs(run):
    run.iteration(loss=1.0, samples=1)
    while True:
        time.sleep(600)

def spins(run):
    run.iteration(loss=1.0, samples=1)
    while True:
        pass

def leaves(run):
    run.iteration(loss=1.0, samples=1)
    sys.exit(0)

class Unsaid(Exception):
    retryable = property(lambda self: 1 / 0)
    def __str__(self):
        raise RuntimeError("nothing to say")

def says_nothing(run):
    run.iteration(loss=1.0, samples=1)
    raise Unsaid

def leaves_by_the_back_door(run):
    run.iteration(loss=1.0, samples=1)
    time.sleep(0.5)
    os._exit(3)

def leaks(run):
    run.iteration(loss=1.0, samples=1)
    kept = []
    while True:
        kept.append(bytearray(2**24))

def leaks_tensors(run):
    run.iteration(loss=1.0, samples=1)
    kept = []
    while True:
        kept.append(torch.ones(2**24))
        run.alive()

def closes_everything(run):
    run.iteration(loss=1.0, samples=1)
    os.closerange(3, 256)
    run.iteration(loss=1.0, samples=1)
    time.sleep(1)
    run.iteration(loss=1.0, samples=1)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package of programs stands where trainers find it."""
    write_package(tmp_path / "site", "team_programs", programs=PROGRAMS)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return tmp_path


def ended(engine: Engine, settings: Settings, name: str, **more: Any) -> tuple[Row[Any], Row[Any]]:  # noqa: ANN401 - fields of a spec
    """The job and its one attempt."""
    with program(engine, settings, name, **more) as made:
        job = made.wait(60)
    (tried,) = attempts_of(engine, made.key)
    return job, tried


def test_a_good_one_is_in_the_book(engine: Engine, settings: Settings, folder: Path) -> None:
    del folder
    job, tried = ended(engine, settings, "good")
    assert (job.state, job.stop_reason, job.error) == ("succeeded", "returned", None)
    assert (job.rows, job.iteration, tried.last_iteration) == (20, 20, 20)
    assert (tried.torch is not None, tried.precision, tried.threads) == (True, None, 1)
    assert tried.environment["entrypoints"]["team_programs"]["sha256"]
    with transaction(engine) as connection:
        assert connection.scalar(select(func.count()).select_from(epochs)) == 2
        weights = connection.scalar(
            select(artifacts.c.sha256).where(artifacts.c.name == "weights.safetensors")
        )
    assert weights == job.weights_sha256


def test_one_that_was_killed_goes_on_from_its_checkpoint_with_every_row_once(
    engine: Engine, settings: Settings, folder: Path
) -> None:
    options = {"folder": str(folder)}
    with program(engine, settings, "killed_once", options=options) as first:
        assert first.wait().state == "queued"
    with program(engine, settings, "killed_once", options=options, again=first) as second:
        job = second.wait()
    assert (job.state, job.rows, job.iteration) == ("succeeded", 30, 30)
    killed, succeeded = attempts_of(engine, first.key)
    assert (killed.outcome, killed.signal) == ("killed", 9)
    assert succeeded.outcome == "succeeded"
    assert 1 < succeeded.first_iteration <= killed.last_iteration + 1
    with transaction(engine) as connection:
        told = connection.scalars(select(iterations.c.iteration).order_by("iteration")).all()
    assert told == list(range(1, 31))


def test_a_pause_is_heard_at_a_checkpoint_and_a_stop_where_it_asks(
    engine: Engine, settings: Settings, folder: Path
) -> None:
    del folder
    options = {"iterations": 100_000, "pause": 0.01}
    with program(engine, settings, "good", options=options) as first:
        first.wait_for_rows(3)
        first.wish(Wish.PAUSE)
        job = first.wait()
    assert job.state == "paused"
    reached = job.iteration
    with transaction(engine) as connection:
        connection.execute(text("UPDATE jobs SET state = 'queued'"))
    with program(engine, settings, "good", options=options, again=first) as second:
        second.wait_for_rows(reached + 3)
        second.wish(Wish.STOP)
        job = second.wait()
    assert (job.state, job.stop_reason) == ("succeeded", "stopped")
    assert job.rows == job.iteration
    assert attempts_of(engine, first.key)[-1].first_iteration == reached + 1


@pytest.mark.parametrize("name", ["hangs", "spins"])
def test_a_cancel_ends_one_that_hears_nothing(
    engine: Engine, settings: Settings, folder: Path, name: str
) -> None:
    del folder
    with program(engine, settings, name) as made:
        made.wait_for_rows()
        made.wish(Wish.CANCEL)
        job = made.wait(10)
    assert (job.state, job.rows) == ("cancelled", 1)


def test_one_that_has_lost_its_job_is_ended_and_writes_no_more(
    engine: Engine, settings: Settings, folder: Path
) -> None:
    del folder
    with program(engine, settings, "ignores_stop") as made:
        made.wait_for_rows(3)
        pid = made.pid
        with transaction(engine) as connection:
            # As a claim of somebody else's leaves it.
            connection.execute(text("UPDATE progress SET attempt = attempt + 1"))
        rows = made.job.rows
        assert made.wait(20).rows == rows
    assert gone(pid)


def test_one_that_ignores_a_stop_is_ended_and_named(
    engine: Engine, settings: Settings, folder: Path
) -> None:
    del folder
    short = with_worker(settings, stop_seconds=1.0)
    with program(engine, short, "ignores_stop") as made:
        made.wait_for_rows(3)
        made.wish(Wish.STOP)
        job = made.wait(20)
    assert (job.state, job.stop_reason, job.error["type"]) == ("failed", "error", "StopIgnored")
    assert job.rows == job.iteration >= 3


def test_one_that_hangs_is_stalled_and_what_it_hid_ends_too(
    engine: Engine, settings: Settings, folder: Path
) -> None:
    short = with_worker(settings, stall_seconds=3.0)
    job, tried = ended(engine, short, "hides", options={"folder": str(folder)})
    assert (job.state, tried.outcome, tried.error["type"]) == ("queued", "stalled", "Stalled")
    assert gone(int((folder / "pids").read_text()))


def test_a_gigabyte_of_lines_is_bounded_and_told(
    engine: Engine, settings: Settings, folder: Path
) -> None:
    del folder
    before = psutil.Process().memory_info().rss
    job, _ = ended(engine, settings, "prints")
    assert (job.state, job.rows) == ("succeeded", 1)
    with transaction(engine) as connection:
        lines = connection.scalar(select(func.count()).select_from(logs)) or 0
        left_out = connection.scalars(
            select(logs.c.text).where(logs.c.text.like("%lines left out%"))
        ).all()
    assert 2_000 <= lines < 20_000
    counted = sum(int(told.split()[0].removeprefix("[")) for told in left_out)
    assert counted + lines - len(left_out) == 2**20
    assert psutil.Process().memory_info().rss - before < 200 * 2**20


def test_a_line_without_an_end_is_cut(engine: Engine, settings: Settings, folder: Path) -> None:
    del folder
    job, _ = ended(engine, settings, "endless_line")
    assert job.state == "succeeded"
    with transaction(engine) as connection:
        longest = connection.scalar(select(func.max(func.length(logs.c.text)))) or 0
    assert longest <= 4_000


def test_what_it_forks_does_not_report_and_ends_with_it(
    engine: Engine, settings: Settings, folder: Path
) -> None:
    job, tried = ended(engine, settings, "forks", options={"folder": str(folder)})
    assert (job.state, job.error, tried.exit_code) == ("succeeded", None, 0)
    with transaction(engine) as connection:
        losses = connection.scalars(select(iterations.c.loss).order_by("iteration")).all()
    assert losses == [1.0, 6.0, 22.0]
    wait_until((folder / "forked").exists, 10, "the fork's word")
    for pid in map(int, (folder / "pids").read_text().split()):
        wait_until(lambda pid=pid: gone(pid), 10, "its processes are gone")  # type: ignore[misc]


def test_one_that_closes_its_pipes_has_failed_by_a_name(
    engine: Engine, settings: Settings, folder: Path
) -> None:
    del folder
    job, tried = ended(engine, settings, "closes_everything", max_attempts=1)
    assert job.state == "failed"
    # Whichever of its two threads finds it out first.
    assert (tried.outcome, tried.error["type"]) in {("lost", "Lost"), ("error", "Crashed")}


@pytest.mark.parametrize(
    ("name", "outcome", "error", "words"),
    [
        ("leaves", "error", "SystemExit", "0"),
        ("leaves_by_the_back_door", "error", "Crashed", "left with exit code 3"),
        ("says_nothing", "error", "Unsaid", "can't be read: RuntimeError"),
        ("leaks", "out_of_memory", "OutOfMemory", "no memory left"),
        ("leaks_tensors", "out_of_memory", "OutOfMemory", "allocate"),
    ],
)
def test_how_it_left_is_named(
    engine: Engine,
    settings: Settings,
    folder: Path,
    *,
    name: str,
    outcome: str,
    error: str,
    words: str,
) -> None:
    del folder
    bounded = with_worker(settings, memory_bytes=2 * 2**30)
    job, tried = ended(engine, bounded, name, max_attempts=1)
    assert (job.state, tried.outcome) == ("failed", outcome), tried.error
    assert error in job.error["type"]
    assert words in job.error["message"]
    assert job.rows == job.iteration >= 1
    assert gone(tried.pid)
    assert os.getpid() != tried.pid
