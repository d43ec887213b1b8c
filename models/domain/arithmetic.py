"""Batches, iterations and epochs: the counting that a plan is made of."""

from dataclasses import dataclass
from typing import Final

from models.domain.datasets import DatasetFacts
from models.domain.errors import Breach, SpecInvalid
from models.domain.spec import JobSpec

TIMES: Final = "\N{MULTIPLICATION SIGN}"
RULE_OF_THUMB: Final = ((1_000_000, 256), (10_000_000, 128))
"""Batch sizes for networks below so many parameters; LARGE_NETWORK from there on."""
LARGE_NETWORK: Final = 64


@dataclass(frozen=True, slots=True)
class Batches:
    """How the samples fall into batches.

    Attributes:
        size: B, samples a weight update.
        per_epoch: ⌈N / B⌉, with `drop_last` ⌊N / B⌋.
        last_size: samples of an epoch's last batch.
        iterations_total: epochs · per_epoch.
        validation, test: batches of one evaluation.

    """

    size: int
    per_epoch: int
    last_size: int
    iterations_total: int
    validation: int
    test: int


def batches_of(spec: JobSpec, facts: DatasetFacts) -> Batches:
    """The spec's batches.

    Raises:
        SpecInvalid: where a batch would hold more samples than there are.

    """
    samples = facts.train_samples
    size = samples if spec.batch_size == "full" else spec.batch_size
    if size > samples:
        message = (
            f"{size:,} is over the {samples:,} training samples: "
            f'at most {samples:,}, or "full" for all of them'
        )
        raise SpecInvalid([Breach(("batch_size",), message)])
    full, left = divmod(samples, size)
    partial = left > 0 and not spec.drop_last
    evaluated = spec.evaluate.batch_size or size
    return Batches(
        size=size,
        per_epoch=full + partial,
        last_size=left if partial else size,
        iterations_total=spec.epochs * (full + partial),
        validation=-(-facts.validation_samples // evaluated),
        test=-(-facts.test_samples // evaluated),
    )


def formula_of(spec: JobSpec, facts: DatasetFacts, batches: Batches) -> str:
    """How `iterations_total` comes about: epochs times the rounded number of batches."""
    rounding = "floor" if spec.drop_last else "ceil"
    return (
        f"{spec.epochs:,} {TIMES} {rounding}({facts.train_samples:,} / {batches.size:,}) = "
        f"{spec.epochs:,} {TIMES} {batches.per_epoch:,} = {batches.iterations_total:,}"
    )


def suggested_batch_size(parameters: int, samples: int) -> int:
    """The rule of thumb: powers of two, 256 for small networks, 64 for large, at most N."""
    fitting = (size for below, size in RULE_OF_THUMB if parameters < below)
    return min(next(fitting, LARGE_NETWORK), samples)
