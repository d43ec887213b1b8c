"""Reading what each layer got of the error, and what it did with it."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from sqlalchemy import Connection, select

from models.tables import jobs
from services.archive import Archives
from services.archived_tables import LAYERS
from services.book import Book, Place, open_book
from services.packed import Columns, Series, Span
from services.raw_readings import open_readings

PAGE_ROWS = 10_000
MOST_PAGE_ROWS = 100_000
_READ = ("iteration", "position", "error_norm", "grad_norm", "weight_norm", "update_ratio")
# More layers than a network can have: an iteration and a position make one number.
_POSITIONS = 2**15
_LAST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class LayerReadings:
    """A row a measured iteration and layer, in this order.

    Attributes:
        every: measured at the first and every so many iterations; 0: never.

    """

    every: int
    columns: Mapping[str, Series | Sequence[str]]
    next_cursor: str | None


def read_layers(
    connection: Connection, job_id: UUID, limit: int, cursor: str | None, archives: Archives
) -> LayerReadings:
    """Read at most `limit` rows.

    `error_share` is the layer's part of the sum of `error_norm` over all layers of the same
    iteration; it is missing where that sum is 0.

    Raises:
        JobMissing, CursorInvalid, Rewound, ArchiveSpoilt, ArchiveAway: as they say.

    """
    book = open_book(connection, job_id)
    place = Place.of(book, "layers")
    after = place.find(connection, cursor)
    layers, every = _planned(connection, book)
    # Shares need all layers of the iterations at both ends of the page.
    span = Span(book.job_key, max(1, after // _POSITIONS), _LAST)
    rows = limit + 2 * max(1, len(layers))
    with contextlib.closing(open_readings(connection, LAYERS, book, archives)) as readings:
        found = readings.read(_READ, span, rows)
    numbers = found["iteration"].values * _POSITIONS + found["position"].values
    start = int(np.searchsorted(numbers, after, side="right"))
    page = slice(start, start + limit)
    columns = _named({**found, "error_share": shares_of(found)}, layers, page)
    more = len(numbers) > start + limit
    next_cursor = None
    if more:
        last = int(numbers[start + limit - 1])
        next_cursor = place.mark(last, last // _POSITIONS)
    return LayerReadings(every, columns, next_cursor)


class _Layer(NamedTuple):
    name: str
    kind: str


def _planned(connection: Connection, book: Book) -> tuple[list[_Layer], int]:
    layers, every = connection.execute(
        select(
            jobs.c.plan["network", "layers"],
            jobs.c.spec["record", "layers_every"],
        ).where(jobs.c.key == book.job_key)
    ).one()
    # A program has none, and no spec of how often they are measured.
    return [_Layer(layer["name"], layer["kind"]) for layer in layers or []], every or 0


def shares_of(found: Columns) -> Series:
    """Each row's error over the sum of its iteration's; missing where that is 0."""
    error = found["error_norm"]
    missing = np.zeros(len(error), bool) if error.nulls is None else error.nulls
    values = np.where(missing, 0.0, error.values)
    _, iteration = np.unique(found["iteration"].values, return_inverse=True)
    sums = np.bincount(iteration, values, minlength=1)[iteration]
    with np.errstate(divide="ignore", invalid="ignore"):
        return Series(values / sums, missing | (sums == 0))


def _named(
    columns: Columns, layers: Sequence[_Layer], page: slice
) -> dict[str, Series | Sequence[str]]:
    """The page in the API's words: layers by the names that the plan gives them."""
    positions: list[int] = columns["position"].values[page].tolist()
    named: dict[str, Any] = {
        "iteration": columns["iteration"][page],
        "layer": [layers[position].name for position in positions],
        "kind": [layers[position].kind for position in positions],
    }
    norms = ("error_norm", "error_share", "grad_norm", "weight_norm", "update_ratio")
    return named | {name: columns[name][page] for name in norms}
