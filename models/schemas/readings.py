"""The book's pages as the API shows them: iterations, epochs, layers, metrics, events, logs."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from models.domain.metrics import MetricKind
from models.schemas.numbers import Number


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


NextCursor = Annotated[str | None, Field(description="Where the next page begins; null: the end.")]


class IterationColumns(_Answer):
    """Only the columns asked for; `iteration` always."""

    iteration: list[int]
    epoch: list[int] = []
    batch: list[int] = []
    samples: list[int] = []
    loss: list[Number] = []
    lr: list[Number] = []
    grad_norm: list[Number | None] = []
    seconds: list[Number] = []


class IterationPage(_Answer):
    columns: IterationColumns
    total: Annotated[int, Field(description="Rows of the query on all of its pages.")]
    next_cursor: NextCursor


class Epoch(_Answer):
    epoch: int
    batches: int
    samples: int
    first_iteration: int
    last_iteration: int
    train_loss: Number | None
    train_accuracy: Number | None
    val_loss: Number | None
    val_accuracy: Number | None
    test_loss: Number | None
    test_accuracy: Number | None
    test_batches: int | None
    skipped_updates: int
    weight_norm: Number | None
    weight_change: Number | None
    seconds: Number
    samples_per_second: Number | None
    data_seconds: Annotated[Number | None, Field(description="Of `seconds`: making batches.")]
    forward_seconds: Annotated[Number | None, Field(description="Of `seconds`: up to the loss.")]
    backward_seconds: Annotated[
        Number | None, Field(description="Of `seconds`: from the loss to the gradients.")
    ]
    update_seconds: Annotated[
        Number | None, Field(description="Of `seconds`: clipping, the step, readings of layers.")
    ]
    waiting_seconds: Annotated[
        Number | None,
        Field(description="Of `seconds`: nobody took what was told, as in the database's outage."),
    ]
    evaluation_seconds: Annotated[Number | None, Field(description="After the batches.")]
    checkpoint_seconds: Annotated[
        Number | None, Field(description="Of checkpoints that were written in this epoch.")
    ]


class EpochList(_Answer):
    items: list[Epoch]
    next_cursor: NextCursor


class LayerColumns(_Answer):
    """A row a layer and measured iteration; null where a layer has no weights."""

    iteration: list[int]
    layer: list[str]
    kind: list[str]
    error_norm: list[Number | None]
    error_share: list[Number | None]
    grad_norm: list[Number | None]
    weight_norm: list[Number | None]
    update_ratio: list[Number | None]


class LayerPage(_Answer):
    every: Annotated[int, Field(description="Measured each so many iterations; 0: never.")]
    columns: LayerColumns
    next_cursor: NextCursor


class Metric(_Answer):
    """A metric of the trainer's own; `min` and `max` over its finite values."""

    name: str
    kind: MetricKind
    count: int
    non_finite: int
    last: Number
    min: Number | None
    max: Number | None
    last_iteration: int


class MetricList(_Answer):
    items: list[Metric]
    next_cursor: Annotated[None, Field(description="A job has so few that one page has them all.")]


class MetricColumns(_Answer):
    iteration: list[int]
    value: list[Number]


class MetricPage(_Answer):
    metric: str
    columns: MetricColumns
    total: Annotated[int, Field(description="Values of the query on all of its pages.")]
    next_cursor: NextCursor


class Event(_Answer):
    id: int
    at: datetime
    type: Literal["state", "epoch", "checkpoint", "rewound", "warning", "edited"]
    attempt: int | None
    data: dict[str, JsonValue]


class ProjectEvent(Event):
    """An event of one of several jobs: its `id` counts within its job."""

    job: str


class EventList(_Answer):
    items: list[Event]
    next_cursor: NextCursor


class ProjectEventList(_Answer):
    items: list[ProjectEvent]
    next_cursor: NextCursor


class LogLine(_Answer):
    line: int
    at: datetime
    attempt: int
    stream: Literal["stdout", "stderr"]
    text: str


class LogList(_Answer):
    items: list[LogLine]
    next_cursor: NextCursor
