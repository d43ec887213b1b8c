"""The spec of a training job: what a client submits."""

from typing import Annotated, Literal

from pydantic import Field, Tag

from models.domain.spec.augment import AugmentSpec
from models.domain.spec.dataset import DatasetSpec, Seed
from models.domain.spec.heading import Device, Devices, Heading, Threads
from models.domain.spec.loss import Init, Loss, LossSpec
from models.domain.spec.network import NetworkSpec
from models.domain.spec.optimizer import AdamW, OptimizerSpec
from models.domain.spec.part import Positive, by_type
from models.domain.spec.schedule import Constant, GradClip, ScheduleSpec
from models.domain.spec.stopping import Checkpoint, Evaluate, Monitor, Record, Stop

BatchSize = Annotated[
    Annotated[Positive, Tag("\0number")] | Annotated[Literal["full"], Tag("\0word")],
    by_type(number=int, word=str),
]


class JobSpec(Heading):
    """A training job. Only `dataset`, `network` and `epochs` are required."""

    dataset: DatasetSpec
    augment: AugmentSpec = ()
    network: NetworkSpec
    init: Init = Init()
    loss: LossSpec = Loss()
    batch_size: BatchSize = 64
    drop_last: bool = False
    micro_batch_size: Positive | None = None
    epochs: Annotated[int, Field(ge=1, le=1_000_000)]
    optimizer: OptimizerSpec = AdamW()
    schedule: ScheduleSpec = Constant()
    grad_clip: GradClip | None = None
    stop: Stop = Stop()
    monitor: Monitor = Monitor()
    evaluate: Evaluate = Evaluate()
    checkpoint: Checkpoint = Checkpoint()
    record: Record = Record()
    device: Device = "auto"
    devices: Devices = 1
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: bool = False
    seed: Seed = 0
    deterministic: bool = True
    threads: Threads = 1
