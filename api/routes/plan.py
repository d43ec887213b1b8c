"""The arithmetic of a job that nobody queues."""

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.concurrency import run_in_threadpool

from api.bodies import JsonBytes, parse_json
from api.dependencies import SettingsDependency, SnapshotDependency
from api.documents import JOB_SPEC, problems
from foundation.settings import Settings
from models.domain.errors import SpecInvalid
from models.schemas.plan import PlanAnswer, ProgramPlanAnswer
from services.submission import Draft, draft_job, show_plan

SHORT_BYTES = 500

router = APIRouter(prefix="/v1", tags=["jobs"])


async def draft(body: JsonBytes, settings: SettingsDependency) -> Draft:
    """What is short is read at once: the way into a thread and back would take as long."""
    if len(body) <= SHORT_BYTES:
        return _draft(body, settings)
    return await run_in_threadpool(_draft, body, settings)


def _draft(body: bytes, settings: Settings) -> Draft:
    return draft_job(parse_json(body), settings.limits)


# Before the connection among a route's parameters: a bad spec costs the database nothing.
DraftDependency = Annotated[Draft, Depends(draft)]


@router.post(
    "/plan",
    operation_id="plan_job",
    response_model=PlanAnswer | ProgramPlanAnswer,
    responses=problems(SpecInvalid),
    openapi_extra=JOB_SPEC,
)
def plan_job(draft: DraftDependency, connection: SnapshotDependency) -> dict[str, object]:
    """Plan a job: how many iterations it will be, and of what network. Nothing is queued."""
    return show_plan(connection, draft)
