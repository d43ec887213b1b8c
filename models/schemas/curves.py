"""Curves as the API shows them."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from models.schemas.numbers import Number


class CurveAnswer(BaseModel):
    """Points of a series, column by column; null where a bucket has no finite value."""

    model_config = ConfigDict(frozen=True, serialize_by_alias=True)

    job: UUID
    series: str
    first: int = Field(alias="from")
    to: int
    bucket: int = Field(description="Iterations a point stands for; 1: the rows themselves.")
    rows: int = Field(description="How many rows all points stand for.")
    iteration: list[int] = Field(description="The first row of each bucket.")
    count: list[int] = Field(description="The rows of each, those that are not finite too.")
    non_finite: list[int]
    min: list[Number | None]
    mean: list[Number | None]
    max: list[Number | None]


class CurvesAnswer(BaseModel):
    """One curve a job."""

    items: list[CurveAnswer]
