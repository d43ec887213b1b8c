"""Is the process alive, and can it be of use?"""

from http import HTTPStatus

from fastapi import APIRouter, Response

from api.dependencies import PartsDependency
from models.schemas.catalogue import Readiness

router = APIRouter(tags=["health"])


@router.get("/healthz", operation_id="is_alive")
async def get_liveness() -> dict[str, str]:
    """Answer as long as the process does; asks nobody else."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    operation_id="is_ready",
    responses={
        503: {"model": Readiness, "description": "The database is away, or its schema old."}
    },
)
async def get_readiness(parts: PartsDependency, response: Response) -> Readiness:
    """Tell whether jobs can be taken: 200, even without a broker, or 503."""
    ready, readiness = await parts.health.ready()
    if not ready:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return readiness
