"""What recording costs a training: every loss and learning rate, with the default `record`.

Pairs of whole trainings, each in a trainer process of its own under a supervisor that flushes to
PostgreSQL: the service's loop, and a bare one that computes the same numbers and throws them away
(benchmarks/trainings.py). Timed inside the process, from the first iteration to the last. The
control is the bare loop over itself. Iterations are as short as they come, about a millisecond:
what is recorded of one costs the same of a long one.

    .venv/bin/python -m benchmarks.bench_overhead [--quick] [--peers]
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import func, select

from benchmarks.measuring import Line, asked, conclude, middle, ratios_of
from benchmarks.service import Service, service
from benchmarks.trainings import RESULT
from foundation.settings import DatabaseSettings, Settings
from models.tables import iterations, jobs
from services.claims import Slot, claim
from services.database import transaction
from services.filestore import folder_of
from services.submission import draft_job, submit
from worker.forkserver import start_forkserver
from worker.line import Line as DatabaseLine
from worker.shutdown import Shutdown
from worker.supervisor import Supervisor

PAIRS, QUICK_PAIRS = 24, 2
EPOCHS, QUICK_EPOCHS = 15, 2
ITERATIONS_AN_EPOCH = 200
BATCH = 64
LAYERS = [
    {"conv": {"channels": 16, "kernel": 3, "padding": 1}},
    {"relu": {}},
    {"max_pool": {"size": 2}},
    {"flatten": {}},
    {"linear": {"features": 10}},
]
GOAL = 1.02
LEASE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Timing:
    wall: float
    cpu: float
    rows: int


@dataclass(frozen=True, slots=True)
class Way:
    """A way to train: whose loop, and what is recorded."""

    train: str
    record: dict[str, int]


WAYS = {
    "bare": Way("bare", {}),
    "recorded": Way("recorded", {}),
    "again": Way("bare", {}),
    "every norm": Way("recorded", {"grad_norm_every": 1}),
}


def train(running: Service, settings: Settings, way: Way, epochs: int) -> Timing:
    """Submit a job, claim it, and see it through as a slot does."""
    draft = draft_job(_spec(way, epochs), settings.limits)
    with transaction(running.engine) as connection:
        (job,) = submit(connection, [draft])
        slot = Slot("bench", "bench", 0, "cpu")
        taken = claim(connection, "default", slot, LEASE_SECONDS)
    if taken is None or taken.job_id != job.id:
        raise RuntimeError("another job waits in the queue")
    line = DatabaseLine(running.engine)
    shutdown = Shutdown(settings.worker.grace_seconds)
    Supervisor(taken, line, settings, shutdown, train=f"benchmarks.trainings:{way.train}").run()
    line.close()
    with transaction(running.engine) as connection:
        mine = iterations.c.job_key == taken.job_key
        rows = connection.scalar(select(func.count()).where(mine)) or 0
        state, error = connection.execute(
            select(jobs.c.state, jobs.c.error).where(jobs.c.key == taken.job_key)
        ).one()
    if state != "succeeded":
        raise RuntimeError(f"the training {state}: {error}")
    took = json.loads(Path(folder_of(settings.artifacts_url, job.id), RESULT).read_text())
    return Timing(took["wall"], took["cpu"], rows)


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
    }


def measure(running: Service, pairs: int, epochs: int) -> list[Line]:
    database = DatabaseSettings(url=SecretStr(running.stack.database_url))
    settings = Settings(home=running.home, database=database)
    settings.datasets_folder.mkdir(parents=True, exist_ok=True)
    timings: dict[str, list[Timing]] = {name: [] for name in WAYS}
    names = list(WAYS)
    train(running, settings, WAYS["recorded"], 1)
    for pair in range(pairs):
        # Each way comes first as often as last.
        for name in names if pair % 2 else reversed(names):
            timings[name].append(train(running, settings, WAYS[name], epochs))
    expected = epochs * ITERATIONS_AN_EPOCH
    whole = all(each.rows == expected for each in timings["recorded"] + timings["every norm"])
    iteration = middle([each.wall for each in timings["bare"]]) / expected
    return [
        Line(f"an iteration of the bare loop, of {expected:,}", f"{iteration * 1e3:.3f} ms"),
        *_lines("recorded over bare", timings["recorded"], timings["bare"], GOAL),
        *_lines("control: bare over bare", timings["again"], timings["bare"]),
        *_lines("with `grad_norm_every: 1`, over bare", timings["every norm"], timings["bare"]),
        Line("every row is in the book", f"{whole}".lower(), "true", whole),
    ]


def _lines(
    what: str, ones: list[Timing], others: list[Timing], goal: float | None = None
) -> list[Line]:
    lines = []
    for kind in ("wall", "cpu"):
        ratio = ratios_of(
            [getattr(each, kind) for each in ones], [getattr(each, kind) for each in others]
        )
        words = "" if goal is None else f"upper end at most {goal}"
        reached = None if goal is None else ratio.high <= goal
        lines.append(Line(f"{what}, {kind}, {len(ones)} pairs", str(ratio), words, reached))
    return lines


def main() -> int:
    run = asked(sys.argv)
    start_forkserver()
    with service() as running:
        pairs, epochs = (QUICK_PAIRS, QUICK_EPOCHS) if run.quick else (PAIRS, EPOCHS)
        lines = measure(running, pairs, epochs)
    return conclude("Overhead of recording", lines, run)


if __name__ == "__main__":
    sys.exit(main())
