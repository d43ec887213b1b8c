"""Books written straight into the tables, for tests of what reads them."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import numpy as np
from psycopg.types.json import Json
from sqlalchemy import Connection, Engine, func, insert, text, update

from foundation.ids import new_id
from models.rows import Rows
from models.tables import events, jobs, progress, summaries
from services.copying import copy_rows
from services.database import transaction

ROW = np.dtype(
    [
        ("iteration", "<i8"),
        ("epoch", "<i4"),
        ("batch", "<i4"),
        ("samples", "<i4"),
        ("loss", "<f8"),
        ("lr", "<f8"),
        ("seconds", "<f8"),
        ("grad_norm", "<f8"),
        ("has_grad_norm", "?"),
    ]
)

_ROWS_BY_SERVER = text("""
    INSERT INTO iterations
        (job_key, iteration, epoch, batch, samples, loss, lr, seconds, grad_norm)
    SELECT :job_key, i, (i - 1) / :batches + 1, (i - 1) % :batches + 1, 64, 1.0 / i, 0.001,
        0.002, CASE WHEN i % 10 = 1 THEN sqrt(i) END
    FROM generate_series(1, :count) AS i
""")


class WrittenJob:
    """A job's key and id, and what a worker would write for it."""

    def __init__(self, engine: Engine, key: int, id_: UUID) -> None:
        self.engine, self.key, self.id = engine, key, id_

    @property
    def path(self) -> str:
        return f"/v1/jobs/{self.id}"

    def write_rows(self, rows: Rows) -> None:
        """COPY the rows, as a flush does."""
        with transaction(self.engine) as connection:
            copy_rows(connection, self.key, rows)
            self._wrote(connection, int(rows["iteration"].max()), len(rows))

    def write_many(self, count: int, batches_per_epoch: int = 100) -> None:
        """Let the server make so many rows."""
        with transaction(self.engine) as connection:
            connection.execute(
                _ROWS_BY_SERVER,
                {"job_key": self.key, "batches": batches_per_epoch, "count": count},
            )
            self._wrote(connection, count, count)

    def write(self, table: str, *rows: Mapping[str, Any]) -> None:
        """Insert rows into a table that belongs to the job."""
        with transaction(self.engine) as connection:
            for row in rows:
                values = {k: Json(v) if isinstance(v, dict) else v for k, v in row.items()}
                names = ", ".join(["job_key", *values])
                places = ", ".join(f":{name}" for name in ("job_key", *values))
                connection.execute(
                    text(f"INSERT INTO {table} ({names}) VALUES ({places})"),  # noqa: S608
                    {"job_key": self.key, **values},
                )

    def finish(self) -> None:
        """End the job well, with a hash that is its own."""
        with transaction(self.engine) as connection:
            connection.execute(
                update(jobs)
                .where(jobs.c.key == self.key)
                .values(
                    state="succeeded",
                    stop_reason="epochs",
                    finished_at=func.clock_timestamp(),
                    loss_sha256=f"{self.key:064x}",
                )
            )

    def rewind(self, to: int) -> None:
        """Take the book back to an iteration, as a resuming attempt does."""
        with transaction(self.engine) as connection:
            for table in ("iterations", "layer_readings"):
                connection.execute(
                    text(f"DELETE FROM {table} WHERE job_key = :key AND iteration > :to"),  # noqa: S608
                    {"key": self.key, "to": to},
                )
            number = connection.execute(
                update(progress)
                .where(progress.c.job_key == self.key)
                .values(
                    iteration=to,
                    rows=to,
                    rewinds=progress.c.rewinds + 1,
                    last_event=progress.c.last_event + 1,
                )
                .returning(progress.c.last_event)
            ).scalar_one()
            connection.execute(
                insert(events).values(
                    job_key=self.key, id=number, type="rewound", attempt=2, data={"to": to}
                )
            )

    def _wrote(self, connection: Connection, iteration: int, rows: int) -> None:
        connection.execute(
            update(progress)
            .where(progress.c.job_key == self.key)
            .values(iteration=iteration, rows=progress.c.rows + rows)
        )


def write_job(
    engine: Engine, *, project: str = "default", plan: Mapping[str, Any] | None = None
) -> WrittenJob:
    """Write a queued job with an empty book."""
    job_id = new_id()
    with transaction(engine) as connection:
        key = connection.execute(
            insert(jobs)
            .values(
                id=job_id,
                name="written",
                project=project,
                queue="default",
                notes="",
                tags={},
                priority=0,
                max_attempts=3,
                device="cpu",
                spec={"record": {"grad_norm_every": 10, "layers_every": 50}},
                spec_sha256="0" * 64,
                plan={"batches_per_epoch": 100, **(plan or {})},
                reproducible=True,
            )
            .returning(jobs.c.key)
        ).scalar_one()
        connection.execute(insert(progress).values(job_key=key))
        connection.execute(insert(summaries).values(job_key=key))
    return WrittenJob(engine, key, job_id)


def make_rows(losses: Any, *, batches_per_epoch: int = 100) -> Rows:  # noqa: ANN401 - array-like
    """One row a loss, from iteration 1 on, every tenth with a gradient norm."""
    values = np.asarray(losses, dtype="<f8")
    rows = np.zeros(len(values), ROW)
    rows["iteration"] = np.arange(1, len(values) + 1)
    rows["epoch"] = (rows["iteration"] - 1) // batches_per_epoch + 1
    rows["batch"] = (rows["iteration"] - 1) % batches_per_epoch + 1
    rows["samples"], rows["lr"], rows["seconds"] = 64, 0.001, 0.002
    rows["has_grad_norm"] = rows["iteration"] % 10 == 1
    rows["grad_norm"] = np.where(rows["has_grad_norm"], rows["iteration"] / 7, 0)
    rows["loss"].view("<i8")[:] = values.view("<i8")
    return rows
