"""What the API answers, as far as the terminal reads it.

Typed dictionaries, not models: a field that a newer service adds must not break an older
terminal. NaN and infinity come as the strings "NaN", "Infinity" and "-Infinity".
"""

from typing import Any, Literal, NotRequired, TypedDict

Number = float | str

State = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
FINISHED: frozenset[str] = frozenset({"succeeded", "failed", "cancelled"})


class Waiting(TypedDict):
    reason: str
    detail: str


class Progress(TypedDict):
    phase: str | None
    epoch: int
    batch: int
    iteration: int
    iterations_total: int | None
    fraction: float | None
    iterations_per_second: float | None
    eta_seconds: float | None


class Latest(TypedDict):
    loss: Number | None
    lr: Number | None
    at: str | None


class Best(TypedDict):
    metric: str
    value: Number
    epoch: int
    iteration: int


class Summary(TypedDict):
    final_loss: Number | None
    best_loss: Number | None
    train_loss: Number | None
    train_accuracy: Number | None
    val_loss: Number | None
    val_accuracy: Number | None
    test_loss: Number | None
    test_accuracy: Number | None
    best: Best | None


class Book(TypedDict):
    rows: int
    expected: int
    complete: bool
    loss_sha256: str | None
    weights_sha256: str | None


class JobError(TypedDict):
    type: str
    message: str
    traceback: NotRequired[str | None]


class Attempt(TypedDict):
    number: int
    worker: str | None
    host: str | None
    pid: int | None
    device: str | None
    device_name: str | None
    started_at: str | None
    ended_at: str | None
    outcome: str | None
    error: JobError | None
    waited_seconds: float
    first_iteration: int | None
    last_iteration: int | None


class Warned(TypedDict):
    code: str
    loc: list[str | int]
    msg: str


class Layer(TypedDict):
    name: str
    kind: str
    output_shape: list[int]
    parameters: int


class PlannedNetwork(TypedDict):
    parameters: int | None
    layers: list[Layer]


class Plan(TypedDict):
    """A training's. In a program's all is null but, at most, `iterations_total`."""

    train_samples: int
    validation_samples: int
    test_samples: int
    batch_size: int
    gradient_descent: str
    epochs: int | None
    batches_per_epoch: int | None
    last_batch_size: int
    iterations_total: int | None
    test_batches: int
    formula: str
    suggested_batch_size: int | None
    network: PlannedNetwork
    same_as: list[str]
    warnings: list[Warned]


class Job(TypedDict):
    id: str
    name: str
    project: str
    notes: str
    tags: dict[str, str]
    state: State
    wanted: str | None
    priority: int
    waiting_for: Waiting | None
    queue_position: int | None
    reproducible: bool
    spec: dict[str, Any]
    spec_sha256: str
    plan: Plan
    progress: Progress
    latest: Latest | None
    summary: Summary
    book: Book
    attempts: list[Attempt]
    stop_reason: str | None
    error: JobError | None
    created_at: str
    started_at: str | None
    finished_at: str | None


class JobPage(TypedDict):
    items: list[Job]
    next_cursor: str | None


class IterationPage(TypedDict):
    columns: dict[str, list[Any]]
    total: int
    next_cursor: str | None


class LogLine(TypedDict):
    line: int
    at: str
    attempt: int
    stream: str
    text: str


class LogPage(TypedDict):
    items: list[LogLine]
    next_cursor: str | None


class Worker(TypedDict):
    name: str
    host: str
    pid: int
    slots: int
    running: list[str]
    last_seen: str
