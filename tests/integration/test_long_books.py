"""A long book: the widest buckets that 300,000 iterations complete say what their rows do."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from sqlalchemy import Engine, RowMapping, select

from models.tables import rollups, series_rollups
from services.aggregates import Floats, Ints
from services.curves import CurveQuery
from services.database import transaction
from services.rollups import BASE, width_of
from services.series import layer_number
from tests.property.known_books import LAYERS_EVERY, SERIES, KnownBook
from tests.versions import on_newest_postgres

pytestmark = on_newest_postgres

ROWS = 300_000
CHUNK = 7_001
RESUMES = {14_002: 9_999, 250_000: 150_001}
WIDE = range(5, 9)
"""Levels: the last one holds 262,144 iterations."""
ODD = (math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e300, -1e300)


class Known:
    """A series as it was flushed: iterations and values, in order."""

    def __init__(self, values: Mapping[int, float]) -> None:
        self.iterations: Ints = np.fromiter(values, np.int64, len(values))
        self.values: Floats = np.fromiter(values.values(), np.float64, len(values))

    def inside(self, first: int, last: int) -> "Known":
        begin, end = np.searchsorted(self.iterations, [first, last + 1])
        part = Known({})
        part.iterations, part.values = self.iterations[begin:end], self.values[begin:end]
        return part

    def check(self, counts: Sequence[int], extremes: Sequence[float | None], total: float) -> None:
        finite = self.values[np.isfinite(self.values)].tolist()
        assert counts == [len(self.values), len(self.values) - len(finite)]
        assert extremes == [min(finite, default=None), max(finite, default=None)]
        assert abs(total - math.fsum(finite)) <= 1e-12 * math.fsum(map(abs, finite))


def check_stored(row: RowMapping, prefix: str, count: int, known: Known) -> None:
    extremes = [row[f"{prefix}min"], row[f"{prefix}max"]]
    known.check([count, row[f"{prefix}non_finite"]], extremes, row[f"{prefix}sum"])


def write_book(engine: Engine) -> KnownBook:
    book, resumes = KnownBook(engine, seed=9), dict(RESUMES)
    while book.last < ROWS:
        ends = [each for each in (*resumes, ROWS) if each > book.last]
        book.flush(min(CHUNK, min(ends) - book.last), ODD)
        if book.last in resumes:
            book.resume(resumes.pop(book.last))
    assert not resumes
    return book


def test_a_long_book_is_drawn_from_wide_buckets(engine: Engine) -> None:
    book = write_book(engine)
    known = {name: Known(book.values[name]) for name in SERIES}
    norms = Known(book.norms)
    check_rollups(engine, book, known)
    check_layer_rollups(engine, book, norms)
    for first, last in ((1, ROWS), (16_385, 278_528), (77, 299_998)):
        for points in (2, 3, 40, 200):
            for name, values in {**known, "layers.conv1.grad_norm": norms}.items():
                check_curve(book, CurveQuery(name, first, last, points), values)


def check_rollups(engine: Engine, book: KnownBook, known: Mapping[str, Known]) -> None:
    query = select(rollups).where(rollups.c.job_key == book.key, rollups.c.level.in_(WIDE))
    with transaction(engine) as connection:
        found = connection.execute(query).mappings().all()
    widths = {level: width_of(level) for level in WIDE}
    assert {(row["level"], row["bucket"]) for row in found} == {
        (level, bucket) for level, width in widths.items() for bucket in range(ROWS // width)
    }
    for row in found:
        width = widths[row["level"]]
        first, last = row["bucket"] * width + 1, (row["bucket"] + 1) * width
        for name, values in known.items():
            count = row["grad_norm_count"] if name == "grad_norm" else width
            check_stored(row, f"{name}_", count, values.inside(first, last))


def check_layer_rollups(engine: Engine, book: KnownBook, norms: Known) -> None:
    table, base = series_rollups.c, BASE * LAYERS_EVERY
    query = select(series_rollups).where(
        table.job_key == book.key,
        table.level.in_(WIDE),
        table.series == layer_number(0, "grad_norm"),
    )
    with transaction(engine) as connection:
        found = connection.execute(query).mappings().all()
    widths = {level: width_of(level, base) for level in WIDE}
    assert {(row["level"], row["bucket"]) for row in found} == {
        (level, bucket) for level, width in widths.items() for bucket in range(ROWS // width)
    }
    for row in found:
        width = widths[row["level"]]
        inside = norms.inside(row["bucket"] * width + 1, (row["bucket"] + 1) * width)
        check_stored(row, "", row["count"], inside)


def check_curve(book: KnownBook, query: CurveQuery, known: Known) -> None:
    curve = book.read(query)
    parts, rows = curve.parts, known.inside(curve.first, curve.last)
    assert curve.bucket >= width_of(4)
    assert parts.buckets <= query.points
    assert curve.rows == len(rows.values)
    for place in range(parts.buckets):
        end = (int(parts.first[place]) - 1) // curve.bucket * curve.bucket + curve.bucket
        inside = rows.inside(int(parts.first[place]), end)
        cells = [each[place].item() for each in (parts.count, parts.non_finite)]
        extremes = [parts.min[place].item(), parts.max[place].item()]
        inside.check(cells, extremes, parts.sum[place].item())
