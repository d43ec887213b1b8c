"""When training ends, what it is judged by, and what is kept of it."""

from typing import Annotated, Literal

from pydantic import Field, Tag

from models.domain.spec.part import (
    Count,
    NonNegativeNumber,
    Part,
    Positive,
    PositiveNumber,
    by_type,
)


class Stop(Part):
    """Training ends at the first of these rules, or after `epochs`."""

    target_loss: NonNegativeNumber | None = None
    target_on: Literal["train_loss", "val_loss", "iteration"] = "train_loss"
    patience_epochs: Positive | None = None
    min_delta: NonNegativeNumber = 0.0
    max_iterations: Positive | None = None
    max_seconds: PositiveNumber | None = None
    on_non_finite: Literal["fail", "continue"] = "fail"


class Monitor(Part):
    """What `patience_epochs` and the best weights go by."""

    metric: Literal[
        "auto", "val_loss", "val_accuracy", "train_loss", "test_loss", "test_accuracy"
    ] = "auto"
    mode: Literal["auto", "min", "max"] = "auto"


class Evaluate(Part):
    every_epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    batch_size: Positive | None = None


class Checkpoint(Part):
    every_seconds: Annotated[float, Field(ge=0.1, le=1e9)] = 60.0
    keep: Annotated[int, Field(ge=1, le=1_000)] = 2
    keep_best: Annotated[
        Annotated[bool, Tag("\0flag")] | Annotated[Literal["auto"], Tag("\0word")],
        by_type(flag=bool, word=str),
    ] = "auto"


class Record(Part):
    """How often norms are measured, in iterations; 0 is never."""

    grad_norm_every: Count = 10
    layers_every: Count = 50
