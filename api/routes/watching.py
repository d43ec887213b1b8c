"""Looking at one job, also until it changes."""

from typing import Annotated
from uuid import UUID

import anyio
from fastapi import APIRouter, Header, Query, Request, Response

from api.dependencies import Parts, PartsDependency
from api.documents import problems
from api.etags import etag_of, matches, standing_in
from api.parameters import JobId
from models.domain.errors import JobMissing
from models.domain.lifecycle import FINISHED
from models.schemas.job import Job
from services.jobs import find_job
from services.standing import Standing

LONGEST_SECONDS = 60

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.get(
    "/{job_id}",
    operation_id="get_job",
    response_model=Job,
    responses={304: {"description": "It is as `If-None-Match` says"}, **problems(JobMissing)},
)
async def get_job(
    request: Request,
    job_id: JobId,
    parts: PartsDependency,
    wait_seconds: Annotated[float, Query(ge=0, le=LONGEST_SECONDS)] = 0,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Read a job, with `wait_seconds` once its state or epoch is another, or that time is over.

    What counts as another is what `If-None-Match` has seen, or without it what is found at
    first; a finished job is answered at once.
    """
    job = await _read(parts, job_id)
    standing = Standing(job.state, job.progress.epoch)
    known = standing_in(if_none_match) or standing
    if wait_seconds and standing == known and job.state not in FINISHED:
        await _wait(request, parts, job_id, standing, wait_seconds)
        job = await _read(parts, job_id)
    body = job.model_dump_json().encode()
    etag = etag_of(Standing(job.state, job.progress.epoch), body)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if matches(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


async def _read(parts: Parts, job_id: UUID) -> Job:
    return await parts.connections.read(lambda connection: find_job(connection, job_id))


async def _wait(
    request: Request, parts: Parts, job_id: UUID, seen: Standing, seconds: float
) -> None:
    """Wait for a change, but not for a client that has gone."""
    async with anyio.create_task_group() as tasks:

        async def until_gone() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        tasks.start_soon(until_gone)
        await parts.lookout.changed(job_id, seen, seconds)
        tasks.cancel_scope.cancel()
