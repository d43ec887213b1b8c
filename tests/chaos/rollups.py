"""Rollups against the rows that they stand for: those of complete buckets, and no others."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from sqlalchemy import Row

from tests.chaos.book import Book, Numbers

BASE, FACTOR = 16, 4
SERIES = ("loss", "lr", "grad_norm")
ROUNDING = 1e-12


def broken_rollups(book: Book) -> Iterator[str]:
    """Say which rollup is missing, superfluous, or not the aggregate of its rows."""
    last = len(book.iterations)
    if not (book.iterations["iteration"] == np.arange(1, last + 1)).all():
        return
    found = {(row.level, row.bucket): row for row in book.rollups}
    complete, level, width = set(), 1, BASE
    while width <= last:
        complete |= {(level, bucket) for bucket in range(last // width)}
        level, width = level + 1, width * FACTOR
    if found.keys() != complete:
        wrong = sorted(found.keys() ^ complete)[:3]
        yield f"rollups (level, bucket) are not those of {last} rows, first at {wrong}"
    for (level, bucket), row in found.items():
        width = BASE * FACTOR ** (level - 1)
        rows = book.iterations[bucket * width : (bucket + 1) * width]
        for name in SERIES:
            if not _is_of(row, name, rows[name]):
                yield f"rollup {bucket} of level {level} is not the aggregate of its rows' {name}"


def _is_of(row: Row[Any], name: str, values: Numbers) -> bool:
    # A norm that was not measured is NaN here, as is one that was measured as NaN.
    finite = values[np.isfinite(values)]
    smallest, largest = (
        (None, None) if not len(finite) else (float(finite.min()), float(finite.max()))
    )
    total = math.fsum(finite)
    size = math.fsum(np.abs(finite))
    stored: tuple[float | None, float | None, float] = (
        getattr(row, f"{name}_min"),
        getattr(row, f"{name}_max"),
        getattr(row, f"{name}_sum"),
    )
    return stored[:2] == (smallest, largest) and abs(stored[2] - total) <= ROUNDING * size
