"""Finished jobs for tests of archiving, and the worker's round as a test calls it."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sqlalchemy import Engine, Row, Table, func, select, text, update

from foundation.settings import Settings
from models.domain.artifacts import ARCHIVE_KIND, ARCHIVED_ITERATIONS
from models.domain.metrics import Metric, MetricKind
from models.metrics import METRIC_DTYPE, MetricValues
from models.tables import archives, artifacts, iterations, jobs
from services.closing import loss_sha256
from services.database import transaction
from services.metric_series import write_metrics
from tests.written import WrittenJob, write_job
from worker.archiver import Archiver
from worker.shutdown import Shutdown

_READINGS = text("""
    INSERT INTO layer_readings (job_key, iteration, position, error_norm, grad_norm, weight_norm)
    SELECT :key, i, p, sin(i) + 2 + p, CASE WHEN p % 3 = 0 THEN 'NaN' ELSE cos(i) END,
        CASE WHEN i % 7 > 0 THEN 1 / i::double precision END
    FROM generate_series(CAST(:first AS bigint), :last) AS i, generate_series(0, :layers - 1) AS p
""")
REASONS = {"succeeded": "epochs", "failed": "error", "cancelled": "cancelled"}


def write_run(engine: Engine, count: int = 0, **plan: object) -> WrittenJob:
    """Write a job of so many rows, which the API can show."""
    job = write_job(engine, plan={"iterations_total": 10**6, **plan})
    if count:
        job.write_many(count)
    return job


def close(job: WrittenJob, state: str = "succeeded") -> WrittenJob:
    """End a job that was written, with the hash of its losses."""
    with transaction(job.engine) as connection:
        connection.execute(
            update(jobs)
            .where(jobs.c.key == job.key)
            .values(
                state=state,
                stop_reason=REASONS[state],
                finished_at=func.clock_timestamp(),
                loss_sha256=loss_sha256(connection, job.key),
            )
        )
    return job


def write_layered_run(engine: Engine, count: int, layers: int = 12) -> WrittenJob:
    """Write a job of so many rows, whose network has so many layers."""
    names = [f"conv{number}" for number in range(1, layers + 1)]
    network = {"layers": [{"name": name, "kind": "conv", "parameters": 1} for name in names]}
    return write_run(engine, count, network=network)


def write_readings(job: WrittenJob, first: int, last: int, layers: int) -> None:
    """Let the server make readings of so many layers, of each of these iterations."""
    with transaction(job.engine) as connection:
        parameters = {"key": job.key, "first": first, "last": last, "layers": layers}
        connection.execute(_READINGS, parameters)


def write_values(job: WrittenJob, last: int) -> None:
    """Tell `a/each` at each iteration up to this one, `b` at each third, `once` at the first."""
    known = [Metric(name, MetricKind.ITERATION) for name in ("a/each", "b", "once")]
    every = np.arange(1, last + 1)
    told = np.concatenate([every, every[every % 3 == 0], [1]])
    values = np.zeros(len(told), METRIC_DTYPE)
    values["metric"] = np.repeat([0, 1, 2], [last, last // 3, 1])
    values["iteration"] = told
    values["value"] = np.sin(told)
    values["value"][5::1_001] = math.nan
    with transaction(job.engine) as connection:
        write_metrics(connection, job.key, last, [MetricValues(tuple(known), values)])


def archiver(engine: Engine, settings: Settings) -> Archiver:
    return Archiver(engine, settings, Shutdown(1.0))


def rows_of(job: WrittenJob, table: Table = iterations) -> int:
    """How many rows of it are in the table."""
    with transaction(job.engine) as connection:
        query = select(func.count()).select_from(table).where(table.c.job_key == job.key)
        return connection.execute(query).scalar_one()


def wish_of(job: WrittenJob) -> Row[tuple[object, ...]] | None:
    with transaction(job.engine) as connection:
        query = select(archives).where(archives.c.job_key == job.key)
        return connection.execute(query).one_or_none()


def booked_file(job: WrittenJob) -> Path:
    with transaction(job.engine) as connection:
        query = select(artifacts.c.uri).where(
            artifacts.c.job_key == job.key, artifacts.c.name == ARCHIVED_ITERATIONS
        )
        return Path(connection.execute(query).scalar_one())


def booked_files(job: WrittenJob) -> dict[str, Path]:
    """By name: where the files of its rows are."""
    with transaction(job.engine) as connection:
        query = select(artifacts.c.name, artifacts.c.uri).where(
            artifacts.c.job_key == job.key, artifacts.c.kind == ARCHIVE_KIND
        )
        return {name: Path(uri) for name, uri in connection.execute(query)}


def files_of(job: WrittenJob, settings: Settings) -> Iterator[Path]:
    """Every file of the job, those that no row names too."""
    return (
        path for path in (Path(settings.artifacts_url) / str(job.id)).rglob("*") if path.is_file()
    )
