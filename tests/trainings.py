"""Trainings for tests: a sink that keeps everything in order, and a run in one call."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.domain.checkpoints import Resumed
from models.domain.lifecycle import Wish
from models.domain.metrics import MetricKind
from models.domain.spec import parse_spec, resolve
from models.rows import ROW_DTYPE, Rows
from worker.training.sink import Ended, TrainRequest
from worker.training.trainer import train

SMALL: dict[str, Any] = {
    "dataset": {"name": "digits", "train_samples": 200, "test_samples": 50},
    "network": {"name": "linear"},
    "epochs": 2,
    "batch_size": 32,
}
"""7 batches an epoch, the last of 8 samples: 14 iterations."""


RICH: dict[str, Any] = {
    "dataset": {"name": "digits", "train_samples": 400, "test_samples": 50, "validation": 50},
    "network": {
        "layers": [
            {"conv": {"channels": 8, "kernel": 3}},
            {"batch_norm": {}},
            {"relu": {}},
            {"dropout": {"p": 0.3}},
            {"global_avg_pool": {}},
            {"linear": {"features": 10}},
        ]
    },
    "augment": [{"random_crop": {"padding": 1}}],
    "optimizer": {"name": "adamw", "lr": 0.01},
    "schedule": {"name": "one_cycle", "max_lr": 0.05, "warmup_iterations": 3},
    "batch_size": 8,
    "epochs": 6,
    "checkpoint": {"every_seconds": 0.1},
    "record": {"grad_norm_every": 1, "layers_every": 5},
}
"""Dropout, augmentation, a schedule, batch norm, a validation set: 6 times 44 iterations."""


class Book:
    """A sink that remembers; `told` holds (kind, what) in the order in which it was told."""

    waited_seconds = 0.0

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def resumed(self, resumed: Resumed) -> None:
        self.told.append(("resumed", resumed))

    def started(self, environment: dict[str, Any]) -> None:
        self.told.append(("started", environment))

    def rows(self, rows: Rows) -> None:
        self.told.append(("rows", rows))

    def epoch(self, epoch: dict[str, Any]) -> None:
        self.told.append(("epoch", epoch))

    def layers(self, iteration: int, readings: list[dict[str, Any]]) -> None:
        self.told.append(("layers", (iteration, readings)))

    def metrics(
        self,
        iteration: int,
        values: Mapping[str, float],
        kind: MetricKind = MetricKind.ITERATION,
    ) -> None:
        self.told.append(("metrics", (iteration, dict(values), kind)))

    def phase(self, name: str, epoch: int, batch: int) -> None:
        self.told.append(("phase", (name, epoch, batch)))

    def checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.told.append(("checkpoint", checkpoint))

    def artifact(self, artifact: dict[str, Any]) -> None:
        self.told.append(("artifact", artifact))

    def summary(self, summary: dict[str, Any]) -> None:
        self.told.append(("summary", summary))

    def warning(self, message: str, data: dict[str, Any]) -> None:
        self.told.append(("warning", (message, data)))

    def all(self, kind: str) -> list[Any]:
        return [what for told, what in self.told if told == kind]

    @property
    def table(self) -> Rows:
        return np.concatenate([np.empty(0, ROW_DTYPE), *self.all("rows")])

    @property
    def losses(self) -> list[float]:
        return [float(loss) for loss in self.table["loss"]]

    @property
    def epochs(self) -> list[dict[str, Any]]:
        return self.all("epoch")

    @property
    def artifacts(self) -> dict[str, dict[str, Any]]:
        return {artifact["name"]: artifact for artifact in self.all("artifact")}


class Wants:
    """A stop signal whose wish depends on what the book has heard so far."""

    def __init__(self, book: Book, wish: Callable[[Book], Wish | None]) -> None:
        self._book, self._wish = book, wish
        self.asked = 0

    def wanted(self) -> Wish | None:
        self.asked += 1
        return self._wish(self._book)


def make_request(spec: dict[str, Any], folder: Path, **more: Any) -> TrainRequest:  # noqa: ANN401 - fields of TrainRequest
    resolved = resolve(parse_spec(spec))
    return TrainRequest(
        job_id="job",
        spec=resolved,
        plan={},
        artifacts_url=str(folder / "job"),
        datasets_folder=str(folder / "datasets"),
        **{"attempt": 1, "device": "cpu", **more},
    )


def train_spec(
    spec: dict[str, Any],
    folder: Path,
    *,
    book: Book | None = None,
    wish: Callable[[Book], Wish | None] = lambda _book: None,
    **more: Any,  # noqa: ANN401 - fields of TrainRequest
) -> tuple[Ended, Book]:
    """Train for real; what the training told is in the book, also where it raised."""
    book = Book() if book is None else book
    ended = train(make_request(spec, folder, **more), book, Wants(book, wish))
    return ended, book
