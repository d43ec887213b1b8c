"""A job whose book is in order, made without its processes: two attempts, and a rewind between."""

import hashlib
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine

from foundation.settings import LimitsSettings
from models.domain.checkpoints import Resumed
from models.domain.lifecycle import Outcome, StopReason
from models.domain.metrics import MetricKind
from services.claims import Slot, claim
from services.database import transaction
from services.endings import Ending, end_attempt
from services.pages import LayerReading, Page
from services.recording import Owner, flush
from services.submission import draft_job, submit
from tests.measured import block_of, iteration_metrics
from tests.pretenders import BATCHES, epoch_of, make_rows, reading

EPOCHS = 3
ITERATIONS = EPOCHS * BATCHES
SPEC: dict[str, Any] = {
    "name": "orderly",
    "dataset": {"name": "digits", "train_samples": 8 * BATCHES},
    "network": {"layers": [{"flatten": {}}, {"linear": {"features": 10}}]},
    "batch_size": 8,
    "epochs": EPOCHS,
    "record": {"layers_every": BATCHES},
}
LEASE_SECONDS = 60.0
_MEASURED = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
KILLED = Ending(Outcome.KILLED, None, {"type": "Killed", "message": "by a test"}, signal=9)


def book_disturbed(engine: Engine, folder: Path) -> str:
    """A job that was killed after its second epoch and went on after its first; its id."""
    job_id, first = take(engine)
    with transaction(engine) as connection:
        flush(connection, first, _page(1, folder, job_id, 1))
        flush(connection, first, _page(2, folder, job_id, 1))
        end_attempt(connection, first, Page(), KILLED)
        connection.exec_driver_sql("UPDATE jobs SET not_before = NULL")
    _, second = take(engine, submits=False)
    with transaction(engine) as connection:
        flush(connection, second, Page(resumed=Resumed(BATCHES, 1, like=True)))
        flush(connection, second, _page(2, folder, job_id, 2))
        _succeed(connection, second, folder, job_id)
    return job_id


def book_undisturbed(engine: Engine, folder: Path) -> str:
    """The same training, left alone; its id."""
    job_id, owner = take(engine)
    with transaction(engine) as connection:
        flush(connection, owner, _page(1, folder, job_id, 1))
        flush(connection, owner, _page(2, folder, job_id, 1))
        _succeed(connection, owner, folder, job_id)
    return job_id


def book_running(engine: Engine, folder: Path) -> str:
    """One that is in its second epoch; its id."""
    job_id, owner = take(engine)
    with transaction(engine) as connection:
        flush(connection, owner, _page(1, folder, job_id, 1))
        flush(connection, owner, Page(rows=make_rows(BATCHES + 1, 3), epoch=2, batch=3))
    return job_id


def take(engine: Engine, *, submits: bool = True) -> tuple[str, Owner]:
    """Submit a job, and claim the best; its id and the attempt that owns it."""
    with transaction(engine) as connection:
        if submits:
            submit(connection, [draft_job(SPEC, LimitsSettings())])
        taken = claim(connection, "default", Slot("w", "h", 0, "cpu"), LEASE_SECONDS)
    assert taken is not None
    return str(taken.job_id), Owner(taken.job_key, taken.attempt, LEASE_SECONDS)


def write_epoch(engine: Engine, owner: Owner, epoch: int, folder: Path, job_id: str) -> None:
    with transaction(engine) as connection:
        flush(connection, owner, _page(epoch, folder, job_id, owner.attempt))


def _page(epoch: int, folder: Path, job_id: str, attempt: int) -> Page:
    """An epoch, with its layers' readings and a checkpoint at its end."""
    last = epoch * BATCHES
    due = [1, last] if epoch == 1 else [last]
    measured = epoch_of(epoch)
    name = f"checkpoint-{last}.pt"
    stored = _write(folder, job_id, attempt, name, b"checkpoint")
    return Page(
        rows=make_rows(last - BATCHES + 1, BATCHES),
        epochs=[measured],
        layers=[LayerReading(iteration, [reading(1.0), reading(0.5)]) for iteration in due],
        metrics=block_of(
            *iteration_metrics(last - BATCHES + 1, last),
            (last, {"epoch.number": float(epoch)}, MetricKind.EPOCH),
        ),
        checkpoints=[{"iteration": last, **stored}],
        summary={
            **{name: measured[name] for name in _MEASURED},
            "best_loss": measured["train_loss"],
            "best_metric": "train_loss",
            "best_value": measured["train_loss"],
            "best_epoch": epoch,
            "best_iteration": last,
        },
        epoch=epoch,
        batch=BATCHES,
    )


def _succeed(connection: Connection, owner: Owner, folder: Path, job_id: str) -> None:
    stored = _write(folder, job_id, owner.attempt, "weights.safetensors", b"weights")
    page = _page(EPOCHS, folder, job_id, owner.attempt)
    page.artifacts = [{"name": "weights.safetensors", "kind": "weights", **stored}]
    ending = Ending(
        Outcome.SUCCEEDED, StopReason.EPOCHS, exit_code=0, weights_sha256=str(stored["sha256"])
    )
    end_attempt(connection, owner, page, ending)


def _write(folder: Path, job_id: str, attempt: int, name: str, content: bytes) -> dict[str, Any]:
    path = folder / job_id / f"attempt-{attempt}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    return {"uri": str(path), "bytes": len(content), "sha256": sha256}
