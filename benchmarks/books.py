"""Jobs with books to measure on: booked as submit and claim do, and written as a worker does."""

import socket
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import Engine, insert, select

from foundation.ids import new_id
from models.rows import ROW_DTYPE, Rows
from models.tables import jobs, progress, summaries
from services.claims import Slot, claim
from services.database import transaction
from services.lifecycle import Happening, add_events
from services.pages import Page
from services.recording import Owner, flush

BATCHES = 196
LEASE_SECONDS = 3_600.0
PIECE_ROWS = 50_000


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_owner(engine: Engine) -> Owner:
    """Book a job, and claim it."""
    queue = f"bench-{new_id()}"
    spec = {
        "threads": 1,
        "deterministic": True,
        "checkpoint": {"keep": 2},
        "record": {"grad_norm_every": 10, "layers_every": 50},
    }
    with transaction(engine) as connection:
        key = connection.execute(
            insert(jobs)
            .values(
                id=new_id(),
                name="bench",
                project="bench",
                queue=queue,
                notes="",
                tags={},
                priority=0,
                max_attempts=3,
                device="auto",
                spec=spec,
                spec_sha256="0" * 64,
                plan={"iterations_total": 10**9, "batches_per_epoch": BATCHES},
                reproducible=True,
            )
            .returning(jobs.c.key)
        ).scalar_one()
        connection.execute(insert(progress).values(job_key=key))
        connection.execute(insert(summaries).values(job_key=key))
        add_events(connection, key, [Happening("state", None, {"from": None, "to": "queued"})])
        claimed = claim(connection, queue, Slot("bench", "bench", 0, "cpu"), LEASE_SECONDS)
    if claimed is None:
        raise RuntimeError("the job cannot be claimed")
    return Owner(claimed.job_key, claimed.attempt, LEASE_SECONDS)


def id_of(engine: Engine, owner: Owner) -> UUID:
    with transaction(engine) as connection:
        found: UUID = connection.execute(
            select(jobs.c.id).where(jobs.c.key == owner.job_key)
        ).scalar_one()
    return found


def fill(engine: Engine, owner: Owner, count: int) -> None:
    """Flush so many rows into an empty book."""
    for first in range(1, count + 1, PIECE_ROWS):
        rows = make_rows(first, min(PIECE_ROWS, count - first + 1))
        with transaction(engine) as connection:
            flush(connection, owner, Page(rows=rows))


def make_rows(first: int, count: int) -> Rows:
    """Rows as a training makes them, every tenth with a gradient norm."""
    rows = np.zeros(count, ROW_DTYPE)
    iteration = rows["iteration"] = np.arange(first, first + count)
    rows["epoch"], rows["batch"] = (iteration - 1) // BATCHES + 1, (iteration - 1) % BATCHES + 1
    rows["samples"] = 256
    rows["loss"] = 2.3 / np.sqrt(iteration) + np.sin(iteration) / 10
    rows["lr"], rows["seconds"] = 0.001, 0.0014
    rows["has_grad_norm"] = iteration % 10 == 1
    rows["grad_norm"] = 1.0
    return rows


def epochs_within(rows: Rows) -> list[Mapping[str, Any]]:
    """The epochs whose last iteration is among the rows."""
    ends = rows["iteration"][rows["batch"] == BATCHES].tolist()
    return [
        {
            "epoch": end // BATCHES,
            "batches": BATCHES,
            "samples": 256 * BATCHES,
            "first_iteration": end - BATCHES + 1,
            "last_iteration": end,
            "train_loss": 0.5,
            "train_accuracy": 0.5,
            "skipped_updates": 0,
            "seconds": 0.3,
        }
        for end in ends
    ]
