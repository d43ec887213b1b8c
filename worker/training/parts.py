"""Everything that a training is made with, built from its request."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foundation.settings import LimitsSettings
from models.domain.arithmetic import Batches, batches_of
from models.domain.datasets import describe_dataset
from models.domain.network import PlacedNetwork, place_network
from models.domain.spec import parse_spec, resolve
from models.domain.spec.network import OwnNetwork
from worker.training.augment import Augmentation
from worker.training.data.loading import Data, load_data
from worker.training.data.raw import Alive
from worker.training.device import prepare_device
from worker.training.entrypoints import describe
from worker.training.environment import describe_environment
from worker.training.initialising import initialise
from worker.training.learner import Learner
from worker.training.losses import Loss
from worker.training.network import Network
from worker.training.optimizers import make_optimizer
from worker.training.own import (
    OwnLoss,
    make_network,
    make_optimizer_of,
    require_measurements,
    try_network,
)
from worker.training.precision import Precision, resolve_precision
from worker.training.randomness import seed_everything
from worker.training.readings import LayerReadings
from worker.training.schedules import LearningRate, Span, learning_rate
from worker.training.sink import TrainRequest
from worker.training.source import network_source, own_source
from worker.training.stopping import Rules, make_monitor

_UNLIMITED = LimitsSettings(parameters=2**62, layers=2**62)
"""The plan was held to its limits when the job was accepted; they may be lower since."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What stays the same through a training; `learner` holds weights that move.

    `placed` is None where the network is a team's own: nobody knows its layers.
    `source` is what `network.py` will be.
    """

    spec: dict[str, Any]
    device: torch.device
    data: Data
    placed: PlacedNetwork | None
    network: nn.Module
    learner: Learner
    augment: Augmentation
    rate: LearningRate
    rules: Rules
    batches: Batches
    keep_best: bool
    environment: dict[str, Any]
    source: str

    @property
    def seed(self) -> int:
        return int(self.spec["seed"])

    @property
    def evaluation_batch_size(self) -> int:
        return int(self.spec["evaluate"]["batch_size"] or self.batches.size)

    def parameters(self) -> list[Tensor]:
        return [parameter.detach() for parameter in self.network.parameters()]


def prepare(request: TrainRequest, alive: Alive) -> Parts:
    """Load the data, build the network on the device and draw its first weights.

    Weights are drawn on the CPU from the job's seed, whatever device they train on.

    Raises:
        DeviceMissing, DatasetMissing, DatasetCorrupt: as their names say.

    """
    parsed = parse_spec(request.spec)
    # As it came back from where it was kept, 1e30 may be an integer; resolved it is a float again.
    spec = resolve(parsed)
    device = prepare_device(
        request.device, deterministic=spec["deterministic"], threads=spec["threads"]
    )
    facts = describe_dataset(parsed.dataset)
    folder = Path(request.datasets_folder)
    packages = request.packages
    data = load_data(
        spec["dataset"], facts.validation_samples, folder, device, alive, packages=packages
    )
    placed = None
    if not isinstance(parsed.network, OwnNetwork):
        placed = place_network(parsed.network, facts.shape, facts.classes, _UNLIMITED)
        require_measurements(spec["dataset"], data)
    seed_everything(spec["seed"])
    network = Network(placed) if placed else make_network(spec["network"], packages)
    initialise(network, spec["init"]["name"])
    network.to(device)
    if placed is None:
        try_network(spec["network"]["entrypoint"], network, data)
    batches = batches_of(parsed, facts)
    validated = data.validation is not None
    keep_best = spec["checkpoint"]["keep_best"]
    learner = _learner(spec, packages, network, placed, data)
    environment = describe_environment(device, learner.precision.name, torch.get_num_threads())
    return Parts(
        spec=spec,
        device=device,
        data=data,
        placed=placed,
        network=network,
        learner=learner,
        augment=Augmentation(spec["augment"], data.shape, spec["seed"], device),
        rate=_rate(spec, batches),
        rules=Rules(
            spec["stop"], spec["epochs"], make_monitor(spec["monitor"], validated=validated)
        ),
        batches=batches,
        keep_best=validated if keep_best == "auto" else bool(keep_best),
        environment=environment | {"dataset_sha256": data.sha256} | _code(spec),
        source=_source(spec, placed, network, data),
    )


def _learner(
    spec: dict[str, Any],
    packages: Collection[str],
    network: nn.Module,
    placed: PlacedNetwork | None,
    data: Data,
) -> Learner:
    device = data.train.labels.device
    precision = Precision(resolve_precision(spec["precision"], device), device)
    fused = precision.scaler is not None and device.type == "cuda"
    loss, optimizer = spec["loss"], spec["optimizer"]
    return Learner(
        network=network,
        optimizer=make_optimizer_of(optimizer, packages, network)
        if "entrypoint" in optimizer
        else make_optimizer(network, optimizer, fused=fused),
        loss=OwnLoss(loss, packages, data)
        if "entrypoint" in loss
        else Loss(loss, data.train.labels, data.classes),
        precision=precision,
        readings=LayerReadings(network, placed.flat() if placed else ()),
        micro_batch_size=spec["micro_batch_size"],
        grad_clip=spec["grad_clip"],
    )


def _code(spec: dict[str, Any]) -> dict[str, Any]:
    described = describe(spec)
    return {"entrypoints": described} if described else {}


def _source(
    spec: dict[str, Any], placed: PlacedNetwork | None, network: nn.Module, data: Data
) -> str:
    if placed is None:
        return own_source(spec["network"], network, data)
    return network_source(placed, data, spec["dataset"].get("resize"))


def _rate(spec: dict[str, Any], batches: Batches) -> LearningRate:
    schedule = spec["schedule"]
    span = Span(batches.iterations_total, batches.per_epoch, schedule["warmup_iterations"])
    return learning_rate(schedule, spec["optimizer"]["lr"], span)
