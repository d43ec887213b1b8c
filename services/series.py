"""The series of a job, by name: `loss`, `epoch.train_loss`, `layers.conv1.error_norm`, …."""

from dataclasses import dataclass
from difflib import get_close_matches

from models.domain.errors import Breach, QueryInvalid
from models.domain.metrics import is_name
from models.tables import epochs
from services.rollups import SERIES

LAYER_NORMS = ("error_norm", "error_share", "grad_norm", "weight_norm", "update_ratio")
EPOCH_SERIES = tuple(
    name
    for name in epochs.c.keys()  # noqa: SIM118 - a collection of columns is no dict
    if name not in {"job_key", "epoch", "first_iteration", "last_iteration"}
)
# Layers have numbers below it.
FIRST_METRIC = 1_000_000


@dataclass(frozen=True, slots=True)
class IterationSeries:
    """A column of the iterations."""

    column: str


@dataclass(frozen=True, slots=True)
class EpochSeries:
    """A column of the epochs."""

    column: str


@dataclass(frozen=True, slots=True)
class LayerSeries:
    """One of a layer's norms; which layers there are, the job's plan says."""

    layer: str
    norm: str


@dataclass(frozen=True, slots=True)
class MetricSeries:
    """A metric of the trainer's own; which ones there are, nobody knows before it tells them."""

    name: str


Series = IterationSeries | EpochSeries | LayerSeries | MetricSeries


def parse_series(name: str) -> Series:
    """Read the name of a series.

    Raises:
        QueryInvalid: there is none of this name; the nearest one is suggested.

    """
    kind, _, rest = name.partition(".")
    if name in SERIES:
        return IterationSeries(name)
    if kind == "epoch" and rest in EPOCH_SERIES:
        return EpochSeries(rest)
    if kind == "metrics" and is_name(rest):
        return MetricSeries(rest)
    layer, _, norm = rest.rpartition(".")
    if kind == "layers" and layer and norm in LAYER_NORMS:
        return LayerSeries(layer, norm)
    raise unknown_series(name, [])


def unknown_series(name: str, layers: list[str]) -> QueryInvalid:
    """Say that there is no such series, and which one may be meant."""
    known = [*SERIES, *(f"epoch.{each}" for each in EPOCH_SERIES)]
    known += [f"layers.{layer}.{norm}" for layer in layers for norm in LAYER_NORMS]
    nearest = get_close_matches(name[:200], known, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(SERIES)}"
    if not nearest:
        hint += ", epoch.<name>, layers.<layer>.<norm>, metrics.<name>"
    return QueryInvalid([Breach(("query", "series"), f"{name[:80]}: {hint}")])


def layer_number(position: int, norm: str) -> int:
    """Number a layer's norm as `series_rollups.series` has it."""
    return position * len(LAYER_NORMS) + LAYER_NORMS.index(norm)
