"""The plan as `POST /v1/plan` answers it."""

from uuid import UUID

from models.domain.plan import Plan, ProgramPlan


class PlanAnswer(Plan):
    """`same_as`: jobs with the same `spec_sha256`, newest first, at most twenty."""

    same_as: list[UUID]


class ProgramPlanAnswer(ProgramPlan):
    """A program's plan."""

    same_as: list[UUID]
