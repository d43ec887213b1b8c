"""A page: what an attempt has to write, between two flushes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from models.domain.checkpoints import Resumed
from models.domain.lifecycle import Phase
from models.metrics import MetricValues
from models.rows import Rows
from services.lifecycle import Happening

Record = Mapping[str, Any]


@dataclass(frozen=True)
class LayerReading:
    """What every layer measured at one iteration, in the order of the plan's layers."""

    iteration: int
    readings: Sequence[Record]


@dataclass(frozen=True)
class LogLine:
    stream: str
    text: str


@dataclass
class Page:
    """What an attempt has to write: everything since the last flush, in the book's words."""

    resumed: Resumed | None = None
    rows: Rows | None = None
    epochs: list[Record] = field(default_factory=list)
    layers: list[LayerReading] = field(default_factory=list)
    metrics: list[MetricValues] = field(default_factory=list)
    checkpoints: list[Record] = field(default_factory=list)
    artifacts: list[Record] = field(default_factory=list)
    logs: list[LogLine] = field(default_factory=list)
    happenings: list[Happening] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    attempt: dict[str, Any] = field(default_factory=dict)
    phase: Phase | None = None
    epoch: int | None = None
    batch: int | None = None
    iterations_per_second: float | None = None
    running_seconds: float = 0.0
    new_session: bool = False
    keep_checkpoints: int = 2
    layers_every: int = 0


def cut(page: Page, most: int) -> list[Page]:
    """Cut a page into pages of at most so many rows and metrics' values, in order.

    An outage makes long pages, and a flush holds its job: it must not do that for a lease period.
    What belongs to one iteration stays together; the last page has all the rest.
    """
    pages: list[Page] = []
    while (last := _last_that_fits(page, most)) is not None:
        pages.append(_up_to(page, last))
        page = _after(page, last)
    return [*pages, page]


def _last_that_fits(page: Page, most: int) -> int | None:
    """The iteration to cut after; None where all of the page fits, or is of one iteration."""
    weights: list[npt.NDArray[np.int64]] = [each.values["iteration"] for each in page.metrics]
    if page.rows is not None:
        weights.append(page.rows["iteration"])
    if sum(map(len, weights)) <= most:
        return None
    iterations = np.sort(np.concatenate(weights))
    last = max(int(iterations[0]), int(iterations[most]) - 1)
    return None if last >= iterations[-1] else last


def _up_to(page: Page, last: int) -> Page:
    rows = _part(page.rows, last, after=False)
    piece = Page(
        resumed=page.resumed,
        rows=rows,
        layers=[each for each in page.layers if each.iteration <= last],
        layers_every=page.layers_every,
        metrics=[each.part(each.values["iteration"] <= last) for each in page.metrics],
        phase=page.phase,
        running_seconds=page.running_seconds,
    )
    if rows is not None:
        piece.epoch, piece.batch = int(rows["epoch"][-1]), int(rows["batch"][-1])
    return piece


def _after(page: Page, last: int) -> Page:
    return replace(
        page,
        resumed=None,
        rows=_part(page.rows, last, after=True),
        layers=[each for each in page.layers if each.iteration > last],
        metrics=[each.part(each.values["iteration"] > last) for each in page.metrics],
    )


def _part(rows: Rows | None, last: int, *, after: bool) -> Rows | None:
    """The rows up to iteration `last`, or those after it; None where there is none."""
    if rows is None:
        return None
    part = rows[(rows["iteration"] > last) == after]
    return part if len(part) else None
