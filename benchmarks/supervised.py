"""Whole trainings, each in a trainer process of its own under a supervisor, as a slot has them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import SecretStr
from sqlalchemy import func, select

from benchmarks.alternating import EPOCHS_A_TURN, WARM_UP_ROUNDS
from benchmarks.alternating import RESULT as ROUNDS
from benchmarks.service import Service
from benchmarks.trainings import ENDING, RESULT
from foundation.settings import DatabaseSettings, Settings
from models.tables import iterations, jobs
from services.claims import Slot, claim
from services.database import transaction
from services.filestore import folder_of
from services.submission import draft_job, submit
from worker.line import Line as DatabaseLine
from worker.shutdown import Shutdown
from worker.supervisor import Supervisor

ITERATIONS_AN_EPOCH = 200
BATCH = 64
LAYERS = [
    {"conv": {"channels": 16, "kernel": 3, "padding": 1}},
    {"relu": {}},
    {"max_pool": {"size": 2}},
    {"flatten": {}},
    {"linear": {"features": 10}},
]
LEASE_SECONDS = 60.0
DEVICE = "cuda:0" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of a training process, from the first iteration to the last.

    Attributes:
        rows: are in the book.
        ending: wall seconds that a tracker took after the last iteration.

    """

    wall: float
    cpu: float
    rows: int
    ending: float = 0.0


@dataclass(frozen=True, slots=True)
class Way:
    """A way to train.

    Attributes:
        train: the function, and its module of benchmarks.
        record: what is recorded.
        tags: of the job; they name a tracker to `tracked`.
        spec: what else the job asks for.

    """

    train: str
    record: dict[str, int] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)


def settings_of(running: Service) -> Settings:
    """Settings of a worker on these servers."""
    database = DatabaseSettings(url=SecretStr(running.stack.database_url))
    settings = Settings(home=running.home, database=database)
    settings.datasets_folder.mkdir(parents=True, exist_ok=True)
    return settings


def train(running: Service, settings: Settings, way: Way, epochs: int) -> Timing:
    """Submit a job, claim it, and see it through as a slot does."""
    folder, rows, _ = _see_through(running, settings, way, epochs)
    took = json.loads((folder / RESULT).read_text())
    after = folder / ENDING
    ending = json.loads(after.read_text())["wall"] if after.exists() else 0.0
    return Timing(took["wall"], took["cpu"], rows, ending)


def train_in_rounds(
    running: Service, settings: Settings, way: Way, rounds: int
) -> dict[str, list[Timing]]:
    """Train a job and others in turn, in one process (benchmarks/alternating.py).

    Returns:
        A timing a round and way; `rows` are the whole job's.

    """
    epochs = (WARM_UP_ROUNDS + rounds) * EPOCHS_A_TURN
    folder, rows, expected = _see_through(running, settings, way, epochs)
    if rows != expected:
        raise RuntimeError(f"{rows} rows are in the book of {expected}")
    took = json.loads((folder / ROUNDS).read_text())
    return {
        name: [Timing(each["wall"], each["cpu"], rows) for each in seconds]
        for name, seconds in took.items()
    }


def _see_through(
    running: Service, settings: Settings, way: Way, epochs: int
) -> tuple[Path, int, int]:
    """Return the job's folder, how many rows of it are in the book, and how many were planned."""
    draft = draft_job(_spec(way, epochs), settings.limits)
    with transaction(running.engine) as connection:
        (job,) = submit(connection, [draft])
        taken = claim(connection, "default", Slot("bench", "bench", 0, DEVICE), LEASE_SECONDS)
    if taken is None or taken.job_id != job.id:
        raise RuntimeError("another job waits in the queue")
    line = DatabaseLine(running.engine)
    shutdown = Shutdown(settings.worker.grace_seconds)
    Supervisor(taken, line, settings, shutdown, train=f"benchmarks.{way.train}").run()
    line.close()
    with transaction(running.engine) as connection:
        mine = iterations.c.job_key == taken.job_key
        rows = connection.scalar(select(func.count()).where(mine)) or 0
        state, error, plan = connection.execute(
            select(jobs.c.state, jobs.c.error, jobs.c.plan).where(jobs.c.key == taken.job_key)
        ).one()
    if state != "succeeded":
        raise RuntimeError(f"the training {state}: {error}")
    folder = Path(folder_of(settings.artifacts_url, job.id))
    return folder, rows, int(plan["iterations_total"])


def _spec(way: Way, epochs: int) -> dict[str, Any]:
    return {
        "dataset": {
            "name": "synthetic",
            "shape": [1, 8, 8],
            "classes": 10,
            "train_samples": BATCH * ITERATIONS_AN_EPOCH,
            "test_samples": 10 * BATCH,
        },
        "network": {"layers": LAYERS},
        "epochs": epochs,
        "batch_size": BATCH,
        "record": way.record,
        "tags": way.tags,
        **way.spec,
    }
