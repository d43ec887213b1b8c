"""A job as the API shows it."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, WithJsonSchema

from models.domain.lifecycle import Outcome, Phase, State, StopReason, Wish
from models.schemas.numbers import Number

SCHEMA_OF = "x-schema-of"


def _reference(*names: str) -> WithJsonSchema:
    """Pydantic follows a `$ref` while it writes a schema; api/documents.py puts these in."""
    return WithJsonSchema({"type": "object", SCHEMA_OF: list(names)})


# Both are stored as they were answered when the job was made; they are not validated again.
ResolvedSpec = Annotated[dict[str, Any], _reference("JobSpec", "ProgramSpec")]
StoredPlan = Annotated[dict[str, Any], _reference("Plan", "ProgramPlan")]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class WaitingFor(_Answer):
    """Why a queued job does not run yet."""

    reason: Literal["no_worker", "device", "limit", "turn"]
    detail: str


class JobProgress(_Answer):
    phase: Phase
    epoch: int
    batch: int
    iteration: int
    iterations_total: int | None
    fraction: float | None
    iterations_per_second: Number | None
    eta_seconds: float | None


class Latest(_Answer):
    """The newest row of the book."""

    loss: Number
    lr: Number
    at: datetime


class Best(_Answer):
    metric: str
    value: Number
    epoch: int
    iteration: int


class Summary(_Answer):
    """`final_loss` is null until the end; the others are those last measured."""

    final_loss: Number | None
    best_loss: Number | None
    train_loss: Number | None
    train_accuracy: Number | None
    val_loss: Number | None
    val_accuracy: Number | None
    test_loss: Number | None
    test_accuracy: Number | None
    best: Best | None


class MetricSummary(_Answer):
    """What a metric of the trainer's own has come to; `min` and `max` over its finite values."""

    last: Number
    min: Number | None
    max: Number | None
    count: int


class BookState(_Answer):
    """How far the rows of iterations are written; the hashes are set at the end.

    Since `archived_at`, where it is set, the rows lie in files; they are read as before.
    """

    rows: int
    expected: int
    complete: bool
    loss_sha256: str | None
    weights_sha256: str | None
    archived_at: datetime | None


class JobErrorItem(_Answer):
    type: str
    message: str


class JobError(JobErrorItem):
    traceback: str | None


class Attempt(_Answer):
    number: int
    worker: str
    host: str
    pid: int | None
    device: str
    device_name: str | None
    precision: str | None
    threads: int | None
    torch: str | None
    started_at: datetime
    ended_at: datetime | None
    outcome: Outcome | None
    exit_code: int | None
    signal: int | None
    first_iteration: int | None
    last_iteration: int | None
    error: Annotated[
        JobError | None,
        Field(description="Evidence of a bad end, whether the job was tried again or not."),
    ]
    waited_seconds: Annotated[float, Field(description="For the database, while that was away.")]


class JobItem(_Answer):
    """A job in a list: `attempts`, `metrics`, `plan.network`, `error.traceback` only if asked."""

    id: UUID
    name: str
    project: str
    notes: str
    tags: dict[str, str]
    parent: UUID | None
    created_by: str | None
    state: State
    wanted: Wish | None
    priority: int
    waiting_for: WaitingFor | None
    queue_position: int | None
    reproducible: bool
    spec: ResolvedSpec
    spec_sha256: str
    plan: StoredPlan
    progress: JobProgress
    latest: Latest | None
    summary: Summary
    metrics: Annotated[
        dict[str, MetricSummary] | None, Field(exclude_if=lambda value: value is None)
    ] = None
    book: BookState
    attempts: Annotated[list[Attempt] | None, Field(exclude_if=lambda value: value is None)] = None
    stop_reason: StopReason | None
    error: JobError | JobErrorItem | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Job(JobItem):
    """A job with all that belongs to it."""

    attempts: list[Attempt]
    metrics: dict[str, MetricSummary]
    error: JobError | None


class JobList(_Answer):
    items: list[JobItem]
    next_cursor: str | None


class JobBatch(_Answer):
    """What one transaction made, in the order of what was sent."""

    items: list[Job]


class Problem(_Answer):
    """RFC 9457 problem details: the answer to everything that went wrong."""

    type: str
    title: str
    status: int
    detail: str
    errors: Annotated[
        list[dict[str, JsonValue]] | None,
        Field(description="Each broken rule: `loc`, its place, and `msg`."),
    ] = None
