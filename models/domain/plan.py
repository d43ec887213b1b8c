"""The plan: what a spec will do, worked out without touching the data."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from foundation.settings import LimitsSettings
from models.domain.arithmetic import Batches, batches_of, formula_of, suggested_batch_size
from models.domain.datasets import DatasetFacts, describe_dataset
from models.domain.network import PlacedNetwork, place_network
from models.domain.rules import require_rules
from models.domain.spec import JobSpec, ProgramSpec
from models.domain.spec.network import OwnNetwork
from models.domain.warnings import PlanWarning, warnings_of

GradientDescent = Literal["batch", "stochastic", "mini-batch"]


class _Planned(BaseModel):
    model_config = ConfigDict(frozen=True)


class PlannedLayer(_Planned):
    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int


class PlannedNetwork(_Planned):
    """Of a network of a team's own nothing is known: `parameters` is null, there are no layers."""

    parameters: int | None
    layers: tuple[PlannedLayer, ...]


class Plan(_Planned):
    """The arithmetic of one job; `train_samples` is N, `iterations_total` is epochs times
    `batches_per_epoch`, whatever `stop` may end earlier (a warning says so).
    """

    train_samples: int
    validation_samples: int
    test_samples: int
    batch_size: int
    drop_last: bool
    gradient_descent: GradientDescent
    epochs: int
    batches_per_epoch: int
    last_batch_size: int
    iterations_total: int
    weight_updates: int
    validation_batches: int
    test_batches: int
    formula: str
    suggested_batch_size: int | None
    network: PlannedNetwork
    warnings: tuple[PlanWarning, ...] = ()


class ProgramPlan(_Planned):
    """A program's plan: as any other's, and but for its own word on iterations nothing is known."""

    train_samples: None = None
    validation_samples: None = None
    test_samples: None = None
    batch_size: None = None
    drop_last: None = None
    gradient_descent: None = None
    epochs: None = None
    batches_per_epoch: None = None
    last_batch_size: None = None
    iterations_total: int | None
    weight_updates: int | None
    validation_batches: None = None
    test_batches: None = None
    formula: None = None
    suggested_batch_size: None = None
    network: PlannedNetwork
    warnings: tuple[PlanWarning, ...] = ()


def plan_job(spec: JobSpec | ProgramSpec, limits: LimitsSettings) -> Plan | ProgramPlan:
    """The plan of a training or of a program.

    Raises:
        SpecInvalid: as `make_plan`.

    """
    if isinstance(spec, JobSpec):
        return make_plan(spec, limits)
    iterations = spec.program.iterations
    return ProgramPlan(
        iterations_total=iterations, weight_updates=iterations, network=_planned(None)
    )


def make_plan(spec: JobSpec, limits: LimitsSettings | None = None) -> Plan:
    """The spec's plan.

    Args:
        spec: a parsed spec.
        limits: how large a network and a data set may be; the defaults where None.

    Raises:
        SpecInvalid: where the spec breaks a rule that needs the data set's sizes or the
            network's shapes, or is larger than `limits` allows.

    """
    limits = limits or LimitsSettings()
    facts = describe_dataset(spec.dataset, limits)
    network = (
        None
        if isinstance(spec.network, OwnNetwork)
        else place_network(spec.network, facts.shape, facts.classes, limits)
    )
    batches = batches_of(spec, facts)
    require_rules(spec, facts, batches, network, limits)
    return Plan(
        train_samples=facts.train_samples,
        validation_samples=facts.validation_samples,
        test_samples=facts.test_samples,
        batch_size=batches.size,
        drop_last=spec.drop_last,
        gradient_descent=_gradient_descent(facts, batches),
        epochs=spec.epochs,
        batches_per_epoch=batches.per_epoch,
        last_batch_size=batches.last_size,
        iterations_total=batches.iterations_total,
        weight_updates=batches.iterations_total,
        validation_batches=batches.validation,
        test_batches=batches.test,
        formula=formula_of(spec, facts, batches),
        suggested_batch_size=network
        and suggested_batch_size(network.parameters, facts.train_samples),
        network=_planned(network),
        warnings=tuple(warnings_of(spec, facts, batches, network)),
    )


def _gradient_descent(facts: DatasetFacts, batches: Batches) -> GradientDescent:
    if batches.size == facts.train_samples:
        return "batch"
    return "stochastic" if batches.size == 1 else "mini-batch"


def _planned(network: PlacedNetwork | None) -> PlannedNetwork:
    if network is None:
        return PlannedNetwork(parameters=None, layers=())
    return PlannedNetwork(
        parameters=network.parameters,
        layers=tuple(
            PlannedLayer(
                name=layer.name,
                kind=layer.kind,
                output_shape=layer.output_shape,
                parameters=layer.parameters,
            )
            for layer in network.flat()
        ),
    )
