"""Rules that hold between the parts of a spec, its data set and its network."""

from collections.abc import Iterator

from foundation.settings import LimitsSettings
from models.domain.arithmetic import Batches
from models.domain.datasets import FLOAT_BYTES, DatasetFacts
from models.domain.errors import Breach, SpecInvalid
from models.domain.network import PlacedNetwork
from models.domain.network.shapes import written
from models.domain.spec import JobSpec
from models.domain.spec.dataset import IMAGE_DIMENSIONS
from models.domain.spec.loss import Loss
from models.domain.spec.schedule import Cosine


def require_rules(
    spec: JobSpec,
    facts: DatasetFacts,
    batches: Batches,
    network: PlacedNetwork | None,
    limits: LimitsSettings,
) -> None:
    """Raise SpecInvalid with every rule that the spec breaks.

    A network of a team's own, None, is known to the trainer alone: it is held to none here.
    """
    breaches = [*_sampling(spec, facts, batches), *_measuring(spec, facts), *_training(spec)]
    if network is not None:
        breaches += _spread(spec, facts, batches, network)
        breaches += _memory(spec, batches, network, limits)
    if breaches:
        raise SpecInvalid(breaches)


def _sampling(spec: JobSpec, facts: DatasetFacts, batches: Batches) -> Iterator[Breach]:
    if spec.micro_batch_size and spec.micro_batch_size > batches.size:
        text = f"{spec.micro_batch_size:,} is over batch_size, {batches.size:,}: it is a part of it"
        yield Breach(("micro_batch_size",), text)
    image = len(facts.shape) == IMAGE_DIMENSIONS
    for index, augment in enumerate(spec.augment):
        if not image:
            yield Breach(
                ("augment", index, augment.kind), "needs images, [channels, height, width]"
            )
    weight = spec.loss.weight if isinstance(spec.loss, Loss) else None
    if isinstance(weight, tuple) and len(weight) != facts.classes:
        text = f"has {len(weight)} numbers for {facts.classes} classes: give one a class"
        yield Breach(("loss", "weight"), text)


def _measuring(spec: JobSpec, facts: DatasetFacts) -> Iterator[Breach]:
    validated = facts.validation_samples > 0
    metric = spec.monitor.metric
    if spec.stop.target_on == "val_loss" and not validated:
        yield Breach(("stop", "target_on"), _no_validation("val_loss"))
    if metric.startswith("val_") and not validated:
        yield Breach(("monitor", "metric"), _no_validation(metric))
    if metric.startswith("test_") and validated:
        text = (
            f"{metric} is not measured while training: with a validation set the test set is "
            "used at the end only; take val_loss or val_accuracy"
        )
        yield Breach(("monitor", "metric"), text)


def _no_validation(metric: str) -> str:
    return f"{metric} needs a validation set: set dataset.validation, to 0.1 for a tenth"


def _training(spec: JobSpec) -> Iterator[Breach]:
    if isinstance(spec.schedule, Cosine) and spec.schedule.min_lr > spec.optimizer.lr:
        text = f"is above optimizer.lr, {spec.optimizer.lr:g}: cosine goes down to it"
        yield Breach(("schedule", "min_lr"), text)
    if spec.device == "cpu" and spec.precision == "fp16":
        yield Breach(("precision",), "fp16 needs a CUDA device: take bf16 or fp32 on a CPU")


def _spread(
    spec: JobSpec, facts: DatasetFacts, batches: Batches, network: PlacedNetwork
) -> Iterator[Breach]:
    """A pass of one sample in every batch, so in the first; in the last only is a warning."""
    norm = network.thinnest_norm
    most = spec.micro_batch_size or batches.size
    if norm is None or (most > 1 and batches.size % most != 1):
        return
    which = "every pass" if most == 1 else "the last pass of every batch"
    text = (
        f"{which} holds one sample, and {norm.name} gets {written(norm.input_shape)} of it: one "
        "value a channel has no spread to normalise by"
    )
    if facts.train_samples == 1:
        yield Breach(("dataset",), f"{text}: it needs more than one training sample")
    elif spec.micro_batch_size and batches.size > 1:
        yield Breach(("micro_batch_size",), f"{text}: take another size, 2 or more")
    else:
        yield Breach(("batch_size",), f"{text}: take 2 or more")


def _memory(
    spec: JobSpec, batches: Batches, network: PlacedNetwork, limits: LimitsSettings
) -> Iterator[Breach]:
    """Activations of one pass, forward only and in 32 bits: a floor of what it will need."""
    samples = spec.micro_batch_size or batches.size
    a_sample = network.activations * FLOAT_BYTES
    if samples * a_sample <= limits.activation_bytes:
        return
    facts = (
        f"one pass of {samples:,} samples makes {samples * a_sample:,} bytes of activations, "
        f"more than the limit of {limits.activation_bytes:,}"
    )
    most = limits.activation_bytes // a_sample
    if most:
        loc = "micro_batch_size" if spec.micro_batch_size else "batch_size"
        yield Breach((loc,), f"{facts}: set micro_batch_size to at most {most:,}")
    else:
        yield Breach(("network",), f"{facts}: make the network or its input smaller")
