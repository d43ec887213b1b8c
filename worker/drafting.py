"""From what a trainer has delivered to a page for the book."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from models.domain.checkpoints import Resumed
from models.domain.lifecycle import Phase
from models.rows import Rows
from services.lifecycle import Happening
from services.pages import LayerReading, LogLine, Page
from worker.wire import Delivery, Kind

PACE_SECONDS = 10.0
"""Iterations a second are counted over so much time."""

_ATTEMPT = ("device_name", "precision", "threads", "torch")
_BEST = ("metric", "value", "epoch", "iteration")


class Pace:
    """Iterations a second, by the clock: evaluating and saving count."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def mark(self, now: float, rows: Rows) -> float | None:
        """Note where training is at `now` (seconds), and tell how fast it was lately."""
        reached = int(rows["iteration"][-1])
        if not self._marks:
            # The first rows are as old as the iterations took.
            self._marks.append((now - float(rows["seconds"].sum()), reached - len(rows)))
        self._marks.append((now, reached))
        while len(self._marks) > 2 and now - self._marks[1][0] > PACE_SECONDS:  # noqa: PLR2004 - both ends stay
            self._marks.popleft()
        then, before = self._marks[0]
        return (reached - before) / (now - then) if now > then else None


def draft(deliveries: Sequence[Delivery], lines: Sequence[LogLine], attempt: int) -> Page:
    """Sort deliveries into a page, in the book's words; rows become one array."""
    page = Page(logs=list(lines))
    rows: list[Rows] = []
    for delivery in deliveries:
        if delivery.rows is not None:
            rows.append(delivery.rows)
            page.phase = Phase.TRAIN
            page.epoch = int(delivery.rows["epoch"][-1])
            page.batch = int(delivery.rows["batch"][-1])
        elif delivery.metrics is not None:
            page.metrics.append(delivery.metrics)
        elif delivery.kind is Kind.WARNING:
            page.happenings.append(Happening("warning", attempt, delivery.body))
        elif delivery.kind in _FOLDS:
            _FOLDS[delivery.kind](page, delivery.body)
    if rows:
        page.rows = rows[0] if len(rows) == 1 else np.concatenate(rows)
    return page


def _hello(page: Page, body: dict[str, Any]) -> None:
    page.attempt["pid"] = body["pid"]


def _resumed(page: Page, body: dict[str, Any]) -> None:
    page.resumed = Resumed(**body)


def _started(page: Page, body: dict[str, Any]) -> None:
    page.attempt |= {name: body.get(name) for name in _ATTEMPT}
    page.attempt["environment"] = body


def _epoch(page: Page, body: dict[str, Any]) -> None:
    page.epochs.append(body)


def _layers(page: Page, body: dict[str, Any]) -> None:
    page.layers.append(LayerReading(body["iteration"], body["readings"]))


def _phase(page: Page, body: dict[str, Any]) -> None:
    page.phase = Phase(body["name"])
    page.epoch, page.batch = body["epoch"], body["batch"]


def _checkpoint(page: Page, body: dict[str, Any]) -> None:
    page.checkpoints.append(body)


def _artifact(page: Page, body: dict[str, Any]) -> None:
    page.artifacts.append(body)


def _summary(page: Page, body: dict[str, Any]) -> None:
    best = body.get("best")
    page.summary |= {name: value for name, value in body.items() if name != "best"}
    if best is not None:
        page.summary |= {f"best_{name}": best[name] for name in _BEST}


_FOLDS: dict[Kind, Callable[[Page, dict[str, Any]], None]] = {
    Kind.HELLO: _hello,
    Kind.RESUMED: _resumed,
    Kind.STARTED: _started,
    Kind.EPOCH: _epoch,
    Kind.LAYERS: _layers,
    Kind.PHASE: _phase,
    Kind.CHECKPOINT: _checkpoint,
    Kind.ARTIFACT: _artifact,
    Kind.SUMMARY: _summary,
}
