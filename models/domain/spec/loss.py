"""The loss and the weights that training starts from."""

from typing import Annotated, Literal

from pydantic import Field, Tag, field_validator, model_validator

from models.domain.spec.entrypoint import EntryPoint
from models.domain.spec.part import OWN, NonNegativeNumber, Part, by_type, own_or

ClassWeights = Annotated[tuple[NonNegativeNumber, ...], Field(strict=False, min_length=1)]


class Loss(Part):
    """`weight`: null, "balanced" (N / (classes · samples of the class)) or one number a class."""

    name: Literal["cross_entropy", "mse"] = "cross_entropy"
    label_smoothing: Annotated[float, Field(ge=0, le=1)] = 0.0
    weight: (
        Annotated[
            Annotated[ClassWeights, Tag("\0numbers")]
            | Annotated[Literal["balanced"], Tag("\0word")],
            by_type(numbers=(list, tuple), word=str),
        ]
        | None
    ) = None

    @field_validator("weight")
    @classmethod
    def _some_class_counts(
        cls, weight: tuple[float, ...] | Literal["balanced"] | None
    ) -> tuple[float, ...] | Literal["balanced"] | None:
        if isinstance(weight, tuple) and not any(weight):
            raise ValueError("at least one class must have a weight above 0")
        return weight

    @model_validator(mode="after")
    def _smoothing_needs_cross_entropy(self) -> "Loss":
        if self.name == "mse" and self.label_smoothing:
            raise ValueError("label_smoothing belongs to cross_entropy: leave it at 0 with mse")
        return self


class OwnLoss(EntryPoint):
    """Returns what takes (output, labels) and gives the mean of the samples' losses."""


LossSpec = Annotated[
    Annotated[Loss, Tag("\0loss")] | Annotated[OwnLoss, Tag(OWN)],
    own_or("loss"),
]


class Init(Part):
    """How weights are first drawn, from the job's seed."""

    name: Literal[
        "default",
        "kaiming_normal",
        "kaiming_uniform",
        "xavier_normal",
        "xavier_uniform",
        "orthogonal",
    ] = "default"
