"""A worker process and an installed package: its code trains, and what is off the list does not."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from foundation.settings import Settings
from models.domain.spec import parse_spec, resolve
from models.tables import artifacts, jobs, workers
from services.broker import make_celery, ticket
from services.database import transaction
from services.submission import draft_job, submit
from tests.bookings import attempts_of, book_job, job_of
from tests.installed import write_package
from tests.integration.supervised import gone
from tests.integration.test_hostile_programs import PROGRAMS
from tests.integration.test_worker_training import wait_for_end
from tests.processes import ROOT, worker_process
from tests.waiting import wait_until

pytestmark = pytest.mark.newest_postgres

SPEC: dict[str, Any] = json.loads((ROOT / "examples" / "own-code.json").read_text())


@contextlib.contextmanager
def working(settings: Settings, log: Path, packages: str) -> Iterator[None]:
    with worker_process(settings, log, extra={"GRADBOOK_ENTRYPOINTS": packages}):
        yield


@pytest.mark.usefixtures("team_vision")
def test_a_teams_package_trains_a_job_to_its_last_row(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    with working(settings, tmp_path / "log", "team_vision, absent"):
        with transaction(engine) as connection:
            assert connection.scalar(select(workers.c.packages)) == ["team_vision"]
            (made,) = submit(connection, [draft_job(SPEC, settings.limits)])
            key = connection.scalar(select(jobs.c.key).where(jobs.c.id == made.id))
        assert key is not None
        ticket(make_celery(settings.broker), "default")
        job = wait_for_end(engine, key)
    log = (tmp_path / "log").read_text().splitlines()
    assert [line for line in log if "worker.package_missing" in line and "absent" in line]
    assert (job.state, job.stop_reason, job.error) == ("succeeded", "epochs", None)
    assert job.rows == job.iteration == job.plan["iterations_total"] == 96
    assert job.final_loss < 0.5
    assert job.test_accuracy > 0.9
    (attempt,) = attempts_of(engine, key)
    assert attempt.environment["entrypoints"]["team_vision"]["version"] == "1.2.0"
    with transaction(engine) as connection:
        names = set(connection.scalars(select(artifacts.c.name)))
    assert {"weights.safetensors", "network.py", "evaluation.json"} <= names


@pytest.mark.usefixtures("team_vision")
@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("team_vision.nets:bild", "EntryPointMissing", "does not define bild here"),
        ("subprocess:run", "EntryPointRefused", "subprocess is not on this worker's list"),
    ],
)
def test_a_worker_refuses_by_itself_and_does_not_try_again(
    engine: Engine,
    settings: Settings,
    tmp_path: Path,
    *,
    name: str,
    error: str,
    words: str,
) -> None:
    spec = resolve(parse_spec(SPEC | {"network": {"entrypoint": name}}))
    with transaction(engine) as connection:
        # Past what submit checks: a worker may be younger than the job, or its package older.
        key = book_job(connection, **spec)
    with working(settings, tmp_path / "log", "team_vision"):
        ticket(make_celery(settings.broker), "default")
        job = wait_for_end(engine, key)
    assert (job.state, job.stop_reason, job.error["type"]) == ("failed", "error", error)
    assert words in job.error["message"]
    (attempt,) = attempts_of(engine, key)
    assert (attempt.outcome, attempt.pid) == ("error", None)


@pytest.mark.usefixtures("team_vision")
def test_what_its_code_raises_is_the_jobs_error_and_the_worker_goes_on(
    engine: Engine, settings: Settings, tmp_path: Path
) -> None:
    odd = tmp_path / "site" / "team_odd"
    odd.mkdir(parents=True)
    (odd / "__init__.py").write_text(
        "class Suspended(Exception): ...\n"
        "def left(): raise Suspended('not ours')\n"
        "def out(): raise SystemExit(0)\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        paths = f"{odd.parent}:{os.environ['PYTHONPATH']}"
        patch.setenv("PYTHONPATH", paths)
        with working(settings, tmp_path / "log", "team_vision,team_odd"):
            keys = []
            with transaction(engine) as connection:
                for name in ("left", "out"):
                    spec = SPEC | {"network": {"entrypoint": f"team_odd:{name}"}}
                    (made,) = submit(connection, [draft_job(spec, settings.limits)])
                    keys.append(
                        connection.scalar(select(jobs.c.key).where(jobs.c.id == made.id)) or 0
                    )
            ticket(make_celery(settings.broker), "default")
            ended = [wait_for_end(engine, key) for key in keys]
    assert [job.state for job in ended] == ["failed", "failed"]
    assert [job.error["type"] for job in ended] == ["Suspended", "SystemExit"]
    assert all(len(attempts_of(engine, key)) == 1 for key in keys)
    assert all("team_odd" in job.error["traceback"] for job in ended)


@pytest.mark.usefixtures("team_vision")
def test_after_programs_that_do_what_they_should_not_the_worker_runs_the_next(
    engine: Engine, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(tmp_path / "site", "team_programs", programs=PROGRAMS)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{os.environ['PYTHONPATH']}")
    names = ["leaks", "leaves", "leaves_by_the_back_door", "hangs"]
    specs = [{"program": {"entrypoint": f"team_programs.programs:{name}"}} for name in names]
    specs.append(json.loads((ROOT / "examples" / "program.json").read_text()))
    bounds = {
        "GRADBOOK_ENTRYPOINTS": "team_vision,team_programs",
        "GRADBOOK_WORKER_MEMORY_BYTES": str(2 * 2**30),
        "GRADBOOK_WORKER_STALL_SECONDS": "3",
    }
    with worker_process(settings, tmp_path / "log", extra=bounds):
        with transaction(engine) as connection:
            drafts = [draft_job(spec | {"max_attempts": 1}, settings.limits) for spec in specs]
            made = submit(connection, drafts)
            keys = [
                connection.scalar(select(jobs.c.key).where(jobs.c.id == job.id)) or 0
                for job in made
            ]
        ticket(make_celery(settings.broker), "default")
        ended = [wait_for_end(engine, key) for key in keys]
    assert [job.error and job.error["type"] for job in ended] == [
        "OutOfMemory",
        "SystemExit",
        "Crashed",
        "Stalled",
        None,
    ]
    assert (ended[-1].state, ended[-1].stop_reason, ended[-1].rows) == ("succeeded", "returned", 96)


DATA = """
import multiprocessing

import torch
from torch.utils.data import DataLoader, TensorDataset

def double(number):
    return 2.0 * number

def load():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        doubled = torch.tensor(pool.map(double, range(32)))
    batches = DataLoader(TensorDataset(doubled), batch_size=8, num_workers=2)
    x = torch.cat([batch for (batch,) in batches]).reshape(32, 1, 1, 1).expand(32, 1, 4, 4)
    labels = torch.arange(32) % 4
    return (x.contiguous(), labels), (x.contiguous(), labels)
"""


@pytest.mark.usefixtures("team_vision")
def test_its_data_may_be_made_and_read_by_processes_of_its_own(
    engine: Engine, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(tmp_path / "site", "team_data", data=DATA)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{os.environ['PYTHONPATH']}")
    dataset = {
        "entrypoint": "team_data.data:load",
        "train_samples": 32,
        "test_samples": 32,
        "shape": [1, 4, 4],
        "classes": 4,
    }
    spec = {"dataset": dataset, "network": {"name": "linear"}, "epochs": 1, "batch_size": 8}
    with working(settings, tmp_path / "log", "team_data"):
        with transaction(engine) as connection:
            (made,) = submit(connection, [draft_job(spec, settings.limits)])
            key = connection.scalar(select(jobs.c.key).where(jobs.c.id == made.id)) or 0
        ticket(make_celery(settings.broker), "default")
        job = wait_for_end(engine, key)
    assert (job.state, job.error, job.rows) == ("succeeded", None, 4)


HIDING = """
import subprocess, sys, time
from pathlib import Path

def main(run, folder):
    hidden = [sys.executable, "-c", "import time; time.sleep(600)"]
    pids = [subprocess.Popen(hidden, start_new_session=own).pid for own in (False, True)]
    Path(folder, "pids").write_text(" ".join(map(str, pids)))
    while True:
        run.iteration(loss=1.0, samples=1)
        time.sleep(0.05)
"""


@pytest.mark.usefixtures("team_vision")
def test_what_a_program_has_started_does_not_outlive_a_worker_that_is_killed(
    engine: Engine, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_package(tmp_path / "site", "team_data", hiding=HIDING)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{os.environ['PYTHONPATH']}")
    program = {"entrypoint": "team_data.hiding:main", "options": {"folder": str(tmp_path)}}
    listed = {"GRADBOOK_ENTRYPOINTS": "team_data"}
    with worker_process(settings, tmp_path / "log", extra=listed) as process:
        with transaction(engine) as connection:
            (made,) = submit(connection, [draft_job({"program": program}, settings.limits)])
            key = connection.scalar(select(jobs.c.key).where(jobs.c.id == made.id)) or 0
        ticket(make_celery(settings.broker), "default")
        wait_until(lambda: job_of(engine, key).rows > 0, 60, "its first row")
        process.kill()
        process.wait()
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    wait_until(lambda: all(map(gone, pids)), 30, "all that it has started is gone")
