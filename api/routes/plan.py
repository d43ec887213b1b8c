"""The arithmetic of a job that nobody queues."""

from typing import Annotated

from fastapi import APIRouter, Depends

from api.bodies import JsonBytes, parse_json
from api.dependencies import SettingsDependency, SnapshotDependency
from api.documents import JOB_SPEC, problems
from models.domain.errors import SpecInvalid
from models.schemas.plan import PlanAnswer
from services.submission import Draft, draft_job, show_plan

router = APIRouter(prefix="/v1", tags=["jobs"])


def draft(body: JsonBytes, settings: SettingsDependency) -> Draft:
    return draft_job(parse_json(body), settings.limits)


# Before the connection among a route's parameters: a bad spec costs the database nothing.
DraftDependency = Annotated[Draft, Depends(draft)]


@router.post(
    "/plan",
    operation_id="plan_job",
    response_model=PlanAnswer,
    responses=problems(SpecInvalid),
    openapi_extra=JOB_SPEC,
)
def plan_job(draft: DraftDependency, connection: SnapshotDependency) -> dict[str, object]:
    """Plan a job: how many iterations it will be, and of what network. Nothing is queued."""
    return show_plan(connection, draft)
