"""Jobs: submit, list, look at, change, delete."""

from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Response, status
from sqlalchemy import Connection

from api.bodies import JsonBytes, PatchBytes, parse_json
from api.dependencies import (
    AfterCommitDependency,
    ConnectionDependency,
    JobChanged,
    Parts,
    PartsDependency,
    SettingsDependency,
)
from api.documents import JOB_BATCH, JOB_PATCH, JOB_SPEC, problems
from api.idempotency import REPLAYED, KeyedRequestDependency
from api.listings import JobListing
from api.parameters import LIST_ITEMS, Cursor, JobId, Limit
from api.routes.plan import DraftDependency
from models.domain.errors import (
    CursorInvalid,
    FilterInvalid,
    JobMissing,
    JobsDeleted,
    KeyReused,
    MoveForbidden,
    SpecInvalid,
)
from models.schemas.groups import JobGroups
from models.schemas.job import Job, JobBatch, JobList
from services.deletion import delete_files, delete_job
from services.editing import edit
from services.grouping import Grouping, group_jobs
from services.idempotency import KeyedRequest, submit_once
from services.jobs import find_job
from services.listing import list_jobs
from services.submission import Draft, draft_batch


def batch(body: JsonBytes, settings: SettingsDependency) -> list[Draft]:
    return draft_batch(parse_json(body), settings.limits)


router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
SUBMITTING = problems(SpecInvalid, KeyReused, JobsDeleted)
LISTING: dict[int | str, dict[str, Any]] = {
    200: {"model": JobList | JobGroups},
    **problems(FilterInvalid, CursorInvalid),
}


@router.post(
    "",
    operation_id="submit_job",
    status_code=status.HTTP_201_CREATED,
    responses=SUBMITTING,
    openapi_extra=JOB_SPEC,
)
async def submit_job(
    *,
    draft: DraftDependency,
    request: KeyedRequestDependency,
    parts: PartsDependency,
    response: Response,
) -> Job:
    """Queue a training job. Once this is answered with 201 the job is never lost."""
    (job,) = await _submit(parts, [draft], request, response)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job


@router.post(
    "/batch",
    operation_id="submit_jobs",
    status_code=status.HTTP_201_CREATED,
    responses=SUBMITTING,
    openapi_extra=JOB_BATCH,
)
async def submit_jobs(
    *,
    drafts: Annotated[list[Draft], Depends(batch)],
    request: KeyedRequestDependency,
    parts: PartsDependency,
    response: Response,
) -> JobBatch:
    """Queue 1 to 100 jobs: all of them or, where one is refused, none."""
    return JobBatch(items=await _submit(parts, drafts, request, response))


@router.get(
    "",
    operation_id="list_jobs",
    response_class=Response,
    responses=LISTING,
)
async def read_jobs(
    listing: JobListing,
    parts: PartsDependency,
    limit: Limit = LIST_ITEMS,
    cursor: Cursor = None,
) -> Response:
    """List jobs, newest first unless `order_by` says otherwise; with `group_by`, groups of them."""
    seconds = parts.settings.api.search_seconds

    def written(connection: Connection) -> bytes:
        if isinstance(listing, Grouping):
            groups = group_jobs(connection, listing, limit, cursor, seconds)
            return groups.model_dump_json().encode()
        return orjson.dumps(
            list_jobs(connection, listing, limit, cursor, seconds), option=orjson.OPT_UTC_Z
        )

    return Response(await parts.connections.read(written), media_type="application/json")


@router.patch(
    "/{job_id}",
    operation_id="edit_job",
    dependencies=[JobChanged],
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
    dependencies=[JobChanged],
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


async def _submit(
    parts: Parts, drafts: Sequence[Draft], request: KeyedRequest | None, response: Response
) -> list[Job]:
    """Make the jobs; once they are there workers are woken, and who watches is told."""
    made = await parts.connections.write(
        lambda connection: submit_once(connection, drafts, request)
    )
    if made.replayed:
        response.headers.update(REPLAYED)
        return made.jobs
    for draft in drafts:
        parts.tickets.wake(draft.spec.queue)
    parts.notifier.tell(*(job.id for job in made.jobs))
    return made.jobs
