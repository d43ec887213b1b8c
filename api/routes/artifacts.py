"""A job's files."""

from contextlib import AsyncExitStack

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from api.dependencies import Parts, PartsDependency, SnapshotDependency
from api.documents import problems
from api.etags import matches
from api.parameters import JobId
from api.streaming import PieceStream, Writing
from foundation.logging import get_logger
from models.domain.errors import ArtifactMissing, JobMissing
from models.schemas.catalogue import Artifact, ArtifactList
from services.artifacts import StoredFile, find_artifact, list_artifacts
from services.filestore import OutsideStore, open_stored, read_chunks

log = get_logger("api")

router = APIRouter(prefix="/v1", tags=["book"])

MEDIA_TYPES = {".json": "application/json", ".py": "text/x-python"}


@router.get(
    "/jobs/{job_id}/artifacts",
    operation_id="list_artifacts",
    responses=problems(JobMissing),
)
def get_artifacts(connection: SnapshotDependency, job_id: JobId) -> ArtifactList:
    """List the job's files."""
    files = list_artifacts(connection, job_id)
    return ArtifactList(items=[Artifact.model_validate(file) for file in files])


@router.get(
    "/jobs/{job_id}/artifacts/{name}",
    response_class=Response,
    operation_id="get_artifact",
    responses={
        200: {"content": {"application/octet-stream": {}}, "description": "The file."},
        304: {"description": "The client has this file."},
        **problems(JobMissing, ArtifactMissing),
    },
)
async def get_artifact(
    request: Request, parts: PartsDependency, job_id: JobId, name: str
) -> Response:
    """Send one file; its ETag is its sha256."""
    async with parts.connections.snapshot() as connection:
        file = await run_in_threadpool(find_artifact, connection, job_id, name)
    headers = _headers(file)
    if matches(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers={"ETag": headers["ETag"]})
    if file.uri is None:
        return Response(file.content, headers=headers, media_type=_media_type(file))
    return await _stream(parts, str(job_id), file, headers)


async def _stream(parts: Parts, job_id: str, file: StoredFile, headers: dict[str, str]) -> Response:
    try:
        url = parts.settings.artifacts_url
        opened = await run_in_threadpool(open_stored, url, file.uri or "")
    except (FileNotFoundError, OutsideStore) as error:
        log.warning("artifact.missing", job_id=job_id, name=file.name, error=str(error))
        raise ArtifactMissing(job_id, file.name) from error
    resources = AsyncExitStack()
    resources.callback(opened.close)
    writing: Writing[bytes] = Writing(bytes, _media_type(file))
    pieces = read_chunks(opened)
    return PieceStream(pieces, writing, resources, leaving=parts.leaving, headers=headers)


def _headers(file: StoredFile) -> dict[str, str]:
    return {
        "ETag": f'"{file.sha256}"',
        "Content-Length": str(file.bytes),
        "Content-Disposition": f'attachment; filename="{file.name}"',
        "X-Content-Type-Options": "nosniff",
    }


def _media_type(file: StoredFile) -> str:
    suffix = file.name[file.name.rfind(".") :]
    return MEDIA_TYPES.get(suffix, "application/octet-stream")
