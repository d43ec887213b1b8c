"""The spec of a training job: what a client submits."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, Tag

from models.domain.spec.augment import AugmentSpec
from models.domain.spec.dataset import DatasetSpec, Seed
from models.domain.spec.loss import Init, Loss, LossSpec
from models.domain.spec.network import NetworkSpec
from models.domain.spec.optimizer import AdamW, OptimizerSpec
from models.domain.spec.part import Part, Positive, by_type
from models.domain.spec.schedule import Constant, GradClip, ScheduleSpec
from models.domain.spec.stopping import Checkpoint, Evaluate, Monitor, Record, Stop

Label = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
TagKey = Annotated[str, Field(min_length=1, max_length=200)]
TagValue = Annotated[str, Field(max_length=1_000)]


def _one_spelling(value: str) -> str:
    try:
        return str(UUID(value))
    except ValueError:
        raise ValueError("not an id of a job: ids are UUIDs") from None


JobId = Annotated[
    str, Field(max_length=40, json_schema_extra={"format": "uuid"}), AfterValidator(_one_spelling)
]

BatchSize = Annotated[
    Annotated[Positive, Tag("\0number")] | Annotated[Literal["full"], Tag("\0word")],
    by_type(number=int, word=str),
]


class JobSpec(Part):
    """A training job. Only `dataset`, `network` and `epochs` are required."""

    spec_version: Annotated[int, Field(ge=1, le=1)] = 1
    name: Annotated[str, Field(max_length=200)] = ""
    project: Label = "default"
    tags: Annotated[dict[TagKey, TagValue], Field(max_length=64)] = Field(default_factory=dict)
    notes: Annotated[str, Field(max_length=10_000)] = ""
    parent: JobId | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    queue: Label = "default"
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
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
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda|cuda:(0|[1-9][0-9]{0,2}))$")] = "auto"
    devices: Annotated[int, Field(ge=1, le=1)] = 1
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: bool = False
    seed: Seed = 0
    deterministic: bool = True
    threads: Annotated[int, Field(ge=1, le=256)] = 1
