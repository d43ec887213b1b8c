"""Optimizers, with torch's option names and torch's defaults."""

from typing import Annotated, Literal

from pydantic import Field, Tag, model_validator

from models.domain.spec.entrypoint import EntryPoint
from models.domain.spec.part import (
    OWN,
    Momentum,
    NonNegativeNumber,
    Part,
    PositiveNumber,
    by_name,
)

Betas = Annotated[tuple[Momentum, Momentum], Field(strict=False)]
NoDecay = Annotated[tuple[Literal["bias", "norm"], ...], Field(strict=False, max_length=2)]


class Sgd(Part):
    name: Literal["sgd"] = "sgd"
    lr: PositiveNumber = 0.001
    momentum: NonNegativeNumber = 0.0
    dampening: NonNegativeNumber = 0.0
    weight_decay: NonNegativeNumber = 0.0
    nesterov: bool = False
    no_decay: NoDecay = ()

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> "Sgd":
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError("nesterov needs a momentum above 0 and a dampening of 0")
        return self


class Adam(Part):
    name: Literal["adam"] = "adam"
    lr: PositiveNumber = 0.001
    betas: Betas = (0.9, 0.999)
    eps: NonNegativeNumber = 1e-8
    weight_decay: NonNegativeNumber = 0.0
    amsgrad: bool = False
    no_decay: NoDecay = ()


class AdamW(Part):
    name: Literal["adamw"] = "adamw"
    lr: PositiveNumber = 0.001
    betas: Betas = (0.9, 0.999)
    eps: NonNegativeNumber = 1e-8
    weight_decay: NonNegativeNumber = 0.01
    amsgrad: bool = False
    no_decay: NoDecay = ()


class RmsProp(Part):
    name: Literal["rmsprop"] = "rmsprop"
    lr: PositiveNumber = 0.01
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.99
    eps: NonNegativeNumber = 1e-8
    weight_decay: NonNegativeNumber = 0.0
    momentum: NonNegativeNumber = 0.0
    centered: bool = False
    no_decay: NoDecay = ()


class OwnOptimizer(EntryPoint):
    """Called with the network's parameters and `lr`; returns a `torch.optim.Optimizer`."""

    lr: PositiveNumber = 0.001


OptimizerSpec = Annotated[
    Annotated[Sgd, Tag("\0sgd")]
    | Annotated[Adam, Tag("\0adam")]
    | Annotated[AdamW, Tag("\0adamw")]
    | Annotated[RmsProp, Tag("\0rmsprop")]
    | Annotated[OwnOptimizer, Tag(OWN)],
    by_name("sgd", "adam", "adamw", "rmsprop", default="adamw"),
]
