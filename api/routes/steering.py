"""Telling a job what to do."""

from fastapi import APIRouter, status

from api.dependencies import ConnectionDependency
from api.documents import problems
from api.parameters import JobId
from models.domain.errors import JobMissing, MoveForbidden
from models.schemas.job import Job
from services.jobs import find_job
from services.steering import cancel, stop

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"])


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
