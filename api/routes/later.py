"""What the contract names and a later release builds: each says so, and does nothing."""

from fastapi import APIRouter

from api.documents import problems
from models.domain.errors import NotBuilt

router = APIRouter()

LATER = (
    ("POST", "/v1/datasets", "upload_dataset"),
    ("GET", "/metrics", "get_metrics"),
)


def _add(method: str, path: str, operation_id: str) -> None:
    async def say_so() -> None:
        raise NotBuilt(f"{method} {path}")

    router.add_api_route(
        path,
        say_so,
        methods=[method],
        operation_id=operation_id,
        summary="Not built yet",
        tags=["later"],
        status_code=501,
        responses=problems(NotBuilt),
    )


for each in LATER:
    _add(*each)
