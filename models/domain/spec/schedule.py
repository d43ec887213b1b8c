"""How the learning rate moves, and what bounds a gradient."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, Tag, field_validator, model_validator

from models.domain.spec.part import (
    Count,
    NonNegativeNumber,
    Part,
    Positive,
    PositiveNumber,
    by_name,
)


class Constant(Part):
    name: Literal["constant"] = "constant"
    warmup_iterations: Count = 0


class Step(Part):
    """lr · gamma^k in the epoch that follows k · every_epochs others."""

    name: Literal["step"] = "step"
    every_epochs: Positive
    gamma: PositiveNumber
    warmup_iterations: Count = 0


class MultiStep(Part):
    """lr · gamma^(how many of `epochs` have been trained)."""

    name: Literal["multi_step"] = "multi_step"
    epochs: Annotated[tuple[Positive, ...], Field(strict=False, min_length=1, max_length=1_000)]
    gamma: PositiveNumber
    warmup_iterations: Count = 0

    @field_validator("epochs")
    @classmethod
    def _epochs_rise(cls, epochs: tuple[int, ...]) -> tuple[int, ...]:
        if any(later <= earlier for earlier, later in pairwise(epochs)):
            raise ValueError("each epoch must be after the one before it")
        return epochs


class Cosine(Part):
    name: Literal["cosine"] = "cosine"
    min_lr: NonNegativeNumber = 0.0
    warmup_iterations: Count = 0


class OneCycle(Part):
    name: Literal["one_cycle"] = "one_cycle"
    max_lr: PositiveNumber
    warmup_iterations: Count = 0


ScheduleSpec = Annotated[
    Annotated[Constant, Tag("\0constant")]
    | Annotated[Step, Tag("\0step")]
    | Annotated[MultiStep, Tag("\0multi_step")]
    | Annotated[Cosine, Tag("\0cosine")]
    | Annotated[OneCycle, Tag("\0one_cycle")],
    by_name("constant", "step", "multi_step", "cosine", "one_cycle", default="constant"),
]


class GradClip(Part):
    """One of the two: the gradient's L2 norm is bounded, or each of its values is."""

    max_norm: Annotated[PositiveNumber | None, Field(exclude_if=lambda value: value is None)] = None
    max_value: Annotated[PositiveNumber | None, Field(exclude_if=lambda value: value is None)] = (
        None
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> "GradClip":
        if (self.max_norm is None) == (self.max_value is None):
            raise ValueError("takes one of max_norm and max_value")
        return self
