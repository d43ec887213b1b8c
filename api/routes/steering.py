"""Telling a job what to do."""

from functools import partial

from fastapi import APIRouter, status

from api.dependencies import (
    AfterCommitDependency,
    ConnectionDependency,
    JobChanged,
    TicketsDependency,
)
from api.documents import problems
from api.parameters import JobId
from models.domain.errors import JobMissing, MoveForbidden, RetryFutile, RowsArchived
from models.schemas.job import Job
from services.jobs import find_job
from services.steering import archive, cancel, pause, resume, retry, stop

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"], dependencies=[JobChanged])


@router.post(
    "/cancel",
    operation_id="cancel_job",
    status_code=status.HTTP_202_ACCEPTED,
    responses=problems(JobMissing, MoveForbidden),
)
def cancel_job(job_id: JobId, connection: ConnectionDependency) -> Job:
    """End a job within 2 s; nothing more of it is computed."""
    cancel(connection, job_id)
    return find_job(connection, job_id)


@router.post(
    "/stop",
    operation_id="stop_job",
    status_code=status.HTTP_202_ACCEPTED,
    responses=problems(JobMissing, MoveForbidden),
)
def stop_job(job_id: JobId, connection: ConnectionDependency) -> Job:
    """Let a running job end well after its current iteration: evaluated, saved, succeeded."""
    stop(connection, job_id)
    return find_job(connection, job_id)


@router.post(
    "/pause",
    operation_id="pause_job",
    status_code=status.HTTP_202_ACCEPTED,
    responses=problems(JobMissing, MoveForbidden),
)
def pause_job(job_id: JobId, connection: ConnectionDependency) -> Job:
    """Let a job wait until it is resumed: a running one saves after its current iteration."""
    pause(connection, job_id)
    return find_job(connection, job_id)


@router.post(
    "/resume",
    operation_id="resume_job",
    status_code=status.HTTP_202_ACCEPTED,
    responses=problems(JobMissing, MoveForbidden),
)
def resume_job(
    job_id: JobId,
    connection: ConnectionDependency,
    after_commit: AfterCommitDependency,
    tickets: TicketsDependency,
) -> Job:
    """Put a paused job back into the queue: it goes on where it was."""
    queue = resume(connection, job_id)
    after_commit.append(partial(tickets.wake, queue))
    return find_job(connection, job_id)


@router.post(
    "/retry",
    operation_id="retry_job",
    status_code=status.HTTP_202_ACCEPTED,
    responses=problems(JobMissing, MoveForbidden, RetryFutile, RowsArchived),
)
def retry_job(
    job_id: JobId,
    connection: ConnectionDependency,
    after_commit: AfterCommitDependency,
    tickets: TicketsDependency,
) -> Job:
    """Try a failed or cancelled job again, from its last good checkpoint."""
    queue = retry(connection, job_id)
    after_commit.append(partial(tickets.wake, queue))
    return find_job(connection, job_id)


@router.post(
    "/archive",
    operation_id="archive_job",
    status_code=status.HTTP_202_ACCEPTED,
    responses=problems(JobMissing, MoveForbidden),
)
def archive_job(job_id: JobId, connection: ConnectionDependency) -> Job:
    """Let a finished job's rows go to a file: they are read as before, and can't be trained on.

    A worker does it, and `book.archived_at` says when.
    """
    archive(connection, job_id)
    return find_job(connection, job_id)
