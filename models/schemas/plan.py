"""The plan as `POST /v1/plan` answers it."""

from uuid import UUID

from models.domain.plan import Plan


class PlanAnswer(Plan):
    """`same_as`: jobs with the same `spec_sha256`, newest first, at most twenty."""

    same_as: list[UUID]
