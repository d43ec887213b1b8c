"""Finished jobs for tests of archiving, and the worker's round as a test calls it."""

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine, Row, func, select, update

from foundation.settings import Settings
from models.domain.artifacts import ARCHIVE
from models.tables import archives, artifacts, iterations, jobs
from services.closing import loss_sha256
from services.database import transaction
from tests.written import WrittenJob, write_job
from worker.archiver import Archiver
from worker.shutdown import Shutdown

REASONS = {"succeeded": "epochs", "failed": "error", "cancelled": "cancelled"}


def write_run(engine: Engine, count: int = 0) -> WrittenJob:
    """Write a job of so many rows, which the API can show."""
    job = write_job(engine, plan={"iterations_total": 10**6})
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


def archiver(engine: Engine, settings: Settings) -> Archiver:
    return Archiver(engine, settings, Shutdown(1.0))


def rows_of(job: WrittenJob) -> int:
    """How many rows of it are in the table."""
    with transaction(job.engine) as connection:
        query = select(func.count()).select_from(iterations)
        return connection.execute(query.where(iterations.c.job_key == job.key)).scalar_one()


def wish_of(job: WrittenJob) -> Row[tuple[object, ...]] | None:
    with transaction(job.engine) as connection:
        query = select(archives).where(archives.c.job_key == job.key)
        return connection.execute(query).one_or_none()


def booked_file(job: WrittenJob) -> Path:
    with transaction(job.engine) as connection:
        query = select(artifacts.c.uri).where(
            artifacts.c.job_key == job.key, artifacts.c.name == ARCHIVE
        )
        return Path(connection.execute(query).scalar_one())


def files_of(job: WrittenJob, settings: Settings) -> Iterator[Path]:
    """Every file of the job, those that no row names too."""
    return (
        path for path in (Path(settings.artifacts_url) / str(job.id)).rglob("*") if path.is_file()
    )
