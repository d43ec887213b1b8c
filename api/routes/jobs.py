"""Jobs: submit, list, look at, change, delete."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response, status

from api.bodies import JsonBytes, PatchBytes, parse_json
from api.dependencies import (
    AfterCommitDependency,
    ConnectionDependency,
    SettingsDependency,
    SnapshotDependency,
    TicketsDependency,
)
from api.documents import JOB_BATCH, JOB_PATCH, JOB_SPEC, problems
from api.listings import JobListing
from api.parameters import LIST_ITEMS, Cursor, JobId, Limit
from api.routes.plan import DraftDependency
from models.domain.errors import CursorInvalid, JobMissing, MoveForbidden, NotBuilt, SpecInvalid
from models.schemas.job import Job, JobBatch, JobList
from services.deletion import delete_files, delete_job
from services.editing import edit
from services.jobs import find_job
from services.listing import list_jobs
from services.submission import Draft, draft_batch, submit


async def refuse_idempotency_key(idempotency_key: Annotated[str | None, Header()] = None) -> None:
    # To take the header and not keep its promise would be worse than to refuse it.
    if idempotency_key is not None:
        raise NotBuilt("Idempotency-Key")


def batch(body: JsonBytes, settings: SettingsDependency) -> list[Draft]:
    return draft_batch(parse_json(body), settings.limits)


router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
submitting = [Depends(refuse_idempotency_key)]


@router.post(
    "",
    operation_id="submit_job",
    status_code=status.HTTP_201_CREATED,
    dependencies=submitting,
    responses=problems(SpecInvalid, NotBuilt),
    openapi_extra=JOB_SPEC,
)
def submit_job(
    draft: DraftDependency,
    connection: ConnectionDependency,
    after_commit: AfterCommitDependency,
    tickets: TicketsDependency,
    response: Response,
) -> Job:
    """Queue a training job. Once this is answered with 201 the job is never lost."""
    job = submit(connection, [draft])[0]
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    after_commit.append(partial(tickets.wake, draft.spec.queue))
    return job


@router.post(
    "/batch",
    operation_id="submit_jobs",
    status_code=status.HTTP_201_CREATED,
    dependencies=submitting,
    responses=problems(SpecInvalid, NotBuilt),
    openapi_extra=JOB_BATCH,
)
def submit_jobs(
    drafts: Annotated[list[Draft], Depends(batch)],
    connection: ConnectionDependency,
    after_commit: AfterCommitDependency,
    tickets: TicketsDependency,
) -> JobBatch:
    """Queue 1 to 100 jobs: all of them or, where one is refused, none."""
    made = submit(connection, drafts)
    for draft in drafts:
        after_commit.append(partial(tickets.wake, draft.spec.queue))
    return JobBatch(items=made)


@router.get(
    "",
    operation_id="list_jobs",
    responses=problems(CursorInvalid, NotBuilt),
)
def read_jobs(
    listing: JobListing,
    connection: SnapshotDependency,
    limit: Limit = LIST_ITEMS,
    cursor: Cursor = None,
) -> JobList:
    """List jobs, newest first unless `order_by` says otherwise."""
    return list_jobs(connection, listing, limit, cursor)


@router.patch(
    "/{job_id}",
    operation_id="edit_job",
    responses=problems(JobMissing, MoveForbidden, SpecInvalid),
    openapi_extra=JOB_PATCH,
)
def edit_job(job_id: JobId, body: PatchBytes, connection: ConnectionDependency) -> Job:
    """Change name, notes, tags or, while it waits, priority: a JSON merge patch."""
    edit(connection, job_id, parse_json(body))
    return find_job(connection, job_id)


@router.delete(
    "/{job_id}",
    operation_id="delete_job",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    responses=problems(JobMissing, MoveForbidden),
)
def remove_job(
    job_id: JobId,
    connection: ConnectionDependency,
    after_commit: AfterCommitDependency,
    settings: SettingsDependency,
) -> None:
    """Delete a finished job: its rows, and then its files."""
    delete_job(connection, job_id)
    after_commit.append(lambda: delete_files(settings.artifacts_url, job_id))
