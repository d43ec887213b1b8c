"""A page: what an attempt has to write, between two flushes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from models.domain.checkpoints import Resumed
from models.domain.lifecycle import Phase
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


def cut(page: Page, most_rows: int) -> list[Page]:
    """Cut a page into pages of at most so many rows, in order; the last has all the rest.

    An outage makes long pages, and a flush holds its job: it must not do that for a lease period.
    """
    pages: list[Page] = []
    while page.rows is not None and len(page.rows) > most_rows:
        rows, rest = page.rows[:most_rows], page.rows[most_rows:]
        last = int(rows["iteration"][-1])
        pages.append(
            Page(
                resumed=page.resumed,
                rows=rows,
                layers=[each for each in page.layers if each.iteration <= last],
                layers_every=page.layers_every,
                phase=page.phase,
                epoch=int(rows["epoch"][-1]),
                batch=int(rows["batch"][-1]),
                running_seconds=page.running_seconds,
            )
        )
        layers = [each for each in page.layers if each.iteration > last]
        page = replace(page, resumed=None, rows=rest, layers=layers)
    return [*pages, page]
