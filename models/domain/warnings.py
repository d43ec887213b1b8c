"""What a plan warns of: legal, and probably not what was meant."""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from models.domain.arithmetic import Batches, suggested_batch_size
from models.domain.datasets import DatasetFacts
from models.domain.network import PlacedNetwork
from models.domain.spec import JobSpec
from models.domain.spec.optimizer import OwnOptimizer
from models.domain.spec.schedule import MultiStep, OneCycle

FAR = 4
"""How many times over or under the rule of thumb a batch size is far from it."""

USUAL_LR = {
    "sgd": (1e-4, 1.0),
    "adam": (1e-5, 1e-2),
    "adamw": (1e-5, 1e-2),
    "rmsprop": (1e-5, 1e-2),
}


class PlanWarning(BaseModel):
    model_config = ConfigDict(frozen=True)

    code: str
    loc: tuple[str | int, ...]
    msg: str


def warnings_of(
    spec: JobSpec, facts: DatasetFacts, batches: Batches, network: PlacedNetwork | None
) -> Iterator[PlanWarning]:
    """The plan's warnings, in a fixed order; None is a network that nobody here knows."""
    if network is not None:
        yield from _batch_size(facts, batches, network)
        yield from _single_samples(spec, batches, network)
    yield from _classes(facts, batches)
    yield from _validation(spec, facts)
    yield from _learning_rate(spec)
    yield from _schedule(spec, batches)
    yield from _monitor(spec)
    yield from _early_end(spec, batches)


def _batch_size(
    facts: DatasetFacts, batches: Batches, network: PlacedNetwork
) -> Iterator[PlanWarning]:
    size = batches.size
    suggested = suggested_batch_size(network.parameters, facts.train_samples)
    odd = size & (size - 1) and size != facts.train_samples
    far = size > FAR * suggested or size * FAR < suggested
    if not odd and not far:
        return
    facts_said = [f"{size:,} is no power of two"] if odd else []
    if far:
        facts_said.append(f"{size:,} is far from the rule of thumb for this network")
    text = f"{' and '.join(facts_said)}: {suggested} is suggested"
    yield PlanWarning(code="batch_size_guidance", loc=("batch_size",), msg=text)


def _single_samples(
    spec: JobSpec, batches: Batches, network: PlacedNetwork
) -> Iterator[PlanWarning]:
    norms = [layer.name for layer in network.flat() if layer.kind == "batch_norm"]
    if not norms:
        return
    thinnest = network.thinnest_norm
    trouble = (
        f"{norms[0]} measures its spread over one image"
        if thinnest is None
        else f"{thinnest.name} cannot measure a spread of one: training fails there"
    )
    most = spec.micro_batch_size or batches.size
    for size, which, loc, cure in (
        (most, "every pass holds", _pass_size(spec), "take more"),
        (batches.size % most, "a batch's last pass holds", _pass_size(spec), "take another size"),
        (batches.last_size, "an epoch's last batch holds", "batch_size", "set drop_last"),
        (batches.last_size % most, "an epoch's last pass holds", "batch_size", "set drop_last"),
    ):
        if size == 1:
            text = f"{which} one sample, and {trouble}: {cure}"
            yield PlanWarning(code="last_batch_of_one", loc=(loc,), msg=text)
            return


def _pass_size(spec: JobSpec) -> str:
    return "micro_batch_size" if spec.micro_batch_size else "batch_size"


def _classes(facts: DatasetFacts, batches: Batches) -> Iterator[PlanWarning]:
    if facts.classes > batches.size:
        text = (
            f"a batch of {batches.size:,} cannot hold a sample of each of {facts.classes:,} classes"
        )
        yield PlanWarning(code="more_classes_than_batch", loc=("batch_size",), msg=text)
    if facts.train_samples < facts.classes:
        text = f"{facts.train_samples:,} training samples cannot show {facts.classes:,} classes"
        loc = ("dataset", "train_samples")
        yield PlanWarning(code="fewer_samples_than_classes", loc=loc, msg=text)


def _validation(spec: JobSpec, facts: DatasetFacts) -> Iterator[PlanWarning]:
    if spec.dataset.validation and not facts.validation_samples:
        share = f"{spec.dataset.validation:g} of {facts.train_samples:,} samples"
        text = f"{share} is none: there is no validation set"
        yield PlanWarning(code="validation_empty", loc=("dataset", "validation"), msg=text)


def _learning_rate(spec: JobSpec) -> Iterator[PlanWarning]:
    if isinstance(spec.optimizer, OwnOptimizer):
        return
    name = spec.optimizer.name
    least, most = USUAL_LR[name]
    rates = {("optimizer", "lr"): spec.optimizer.lr}
    if isinstance(spec.schedule, OneCycle):
        rates[("schedule", "max_lr")] = spec.schedule.max_lr
    for loc, rate in rates.items():
        if not least <= rate <= most:
            text = f"{rate:g} is outside the usual for {name}, {least:g} to {most:g}"
            yield PlanWarning(code="learning_rate_unusual", loc=loc, msg=text)


def _schedule(spec: JobSpec, batches: Batches) -> Iterator[PlanWarning]:
    schedule = spec.schedule
    if isinstance(schedule, OneCycle) and schedule.max_lr < spec.optimizer.lr:
        text = f"is below optimizer.lr, {spec.optimizer.lr:g}: one_cycle rises to it"
        yield PlanWarning(code="schedule_range", loc=("schedule", "max_lr"), msg=text)
    if isinstance(schedule, MultiStep) and schedule.epochs[-1] >= spec.epochs:
        text = (
            f"epoch {schedule.epochs[-1]:,} is not followed by another: {spec.epochs:,} are trained"
        )
        yield PlanWarning(code="schedule_range", loc=("schedule", "epochs"), msg=text)
    if schedule.warmup_iterations >= batches.iterations_total:
        text = f"warm-up takes all of the {batches.iterations_total:,} iterations"
        loc = ("schedule", "warmup_iterations")
        yield PlanWarning(code="schedule_range", loc=loc, msg=text)


def _monitor(spec: JobSpec) -> Iterator[PlanWarning]:
    if spec.monitor.metric.startswith("test_"):
        text = (
            f"choosing by {spec.monitor.metric} makes the test set a validation set: "
            "hold one out with dataset.validation and take val_loss"
        )
        yield PlanWarning(code="test_metric_choice", loc=("monitor", "metric"), msg=text)


def _early_end(spec: JobSpec, batches: Batches) -> Iterator[PlanWarning]:
    most = spec.stop.max_iterations
    if most and most < batches.iterations_total:
        text = f"training ends after iteration {most:,} of {batches.iterations_total:,}"
        yield PlanWarning(code="max_iterations_first", loc=("stop", "max_iterations"), msg=text)
