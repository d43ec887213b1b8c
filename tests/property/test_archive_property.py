"""An archived job reads as it did before, whatever is asked for."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from uuid import UUID

import numpy as np
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, func, select

from foundation.settings import Settings
from models.domain.lifecycle import Outcome, StopReason
from services.archive import Archives
from services.archived_tables import ARCHIVED
from services.archiving import want
from services.curves import Curve, CurveQuery, read_curve
from services.database import snapshot, transaction
from services.endings import Ending
from services.iterations import COLUMNS, IterationsQuery, read_page, read_run
from services.layers import read_layers
from services.metrics import ValuesQuery, read_all_values, read_values
from services.packed import Series
from services.series import LAYER_NORMS
from tests.archived import archiver
from tests.property.known_books import LAYERS, METRICS, SERIES, KnownBook
from tests.versions import on_newest_postgres

pytestmark = on_newest_postgres

ROWS = 200_000
"""Two row groups of rows and of layers' readings, and three of metrics' values."""
MOST_PAGES = 4
LIMITS = (1, 10, 9_999, 100_000)
ODD = (math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e300, -1e300)

READING_SERIES = [
    *(f"layers.{layer['name']}.{norm}" for layer in LAYERS for norm in LAYER_NORMS),
    *(f"metrics.{name}" for name in METRICS),
]

iterations = st.integers(1, ROWS + 50) | st.sampled_from([1, 15, 16, 17, 100_000, 100_001, ROWS])
ranges = st.tuples(iterations, iterations).map(sorted) | st.just([None, None])
queries = st.builds(
    lambda fields, span, epoch: IterationsQuery(
        tuple(name for name in COLUMNS if name in {"iteration", *fields}), span[0], span[1], epoch
    ),
    st.sets(st.sampled_from(COLUMNS)),
    ranges,
    st.none() | st.integers(1, ROWS // 10),
)
curves = st.builds(
    lambda series, span, points: CurveQuery(series, span[0], span[1], points),
    st.sampled_from([*SERIES, *READING_SERIES]),
    ranges,
    st.sampled_from([2, 3, 100, 1_000, 10_000]),
)


values = st.builds(
    lambda name, span: ValuesQuery(name, span[0] or 1, span[1] or ROWS),
    st.sampled_from(list(METRICS)),
    ranges,
)


class Twice:
    """A job's book as it was when it ended, in a snapshot that stays open, and once archived."""

    def __init__(self, job_id: UUID, before: Connection, after: Connection, store: str) -> None:
        self.job_id, self.before, self.after = job_id, before, after
        self.archives = Archives(store)

    def page(self, connection: Connection, query: IterationsQuery, limit: int) -> object:
        page = read_page(connection, self.job_id, query, limit, self.archives)
        return bits_of(page.columns), page.total, page.next_cursor

    def run(self, connection: Connection, query: IterationsQuery) -> object:
        pieces = read_run(connection, self.job_id, query, self.archives)
        return [bits_of(piece) for piece in pieces]

    def layers(self, connection: Connection, limit: int) -> object:
        found, cursor, pages = [], None, 0
        while pages < MOST_PAGES:
            page = read_layers(connection, self.job_id, limit, cursor, self.archives)
            found.append(bits_of(page.columns))
            cursor, pages = page.next_cursor, pages + 1
            if cursor is None:
                break
        return found, cursor

    def metrics(self, connection: Connection, query: ValuesQuery, limit: int) -> object:
        page = read_values(connection, self.job_id, query, limit, self.archives)
        pieces = read_all_values(connection, self.job_id, query, self.archives)
        every = [bits_of(piece) for piece in pieces]
        return page.name, bits_of(page.columns), page.total, page.next_cursor, every

    def curve(self, connection: Connection, query: CurveQuery) -> object:
        curve: Curve = read_curve(connection, self.job_id, query, self.archives)
        parts = curve.parts
        found = (parts.first, parts.count, parts.non_finite, parts.min, parts.max, parts.sum)
        return curve.first, curve.last, curve.bucket, [each.tobytes() for each in found]


def bits_of(columns: Mapping[str, Series | Sequence[str]]) -> object:
    """Names in order, types, values to the bit, and which of them are missing."""
    return [
        (
            name,
            series.values.dtype.str,
            series.values.tobytes(),
            None if series.nulls is None else np.flatnonzero(series.nulls).tolist(),
        )
        if isinstance(series, Series)
        else (name, list(series))
        for name, series in columns.items()
    ]


def test_what_is_read_of_an_archived_job_is_what_was_read_before(
    engine: Engine, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path)
    book, resumes = KnownBook(engine, seed=1, tells=True), {14_002: 9_999, 150_000: 149_000}
    while book.last < ROWS:
        ends = [each for each in (*resumes, ROWS) if each > book.last]
        book.flush(min(7_001, min(ends) - book.last), ODD)
        if book.last in resumes:
            book.resume(resumes.pop(book.last))
    book.end(Ending(Outcome.SUCCEEDED, StopReason.EPOCHS))
    with transaction(engine) as connection:
        want(connection, book.key)
    with snapshot(engine) as before:
        book_before = read_page(before, book.id, IterationsQuery(), 1, Archives("/nowhere"))
        assert book_before.total == ROWS
        archiver(engine, settings).look()
        assert _left_in(engine, book.key) == [0, 0, 0]
        with snapshot(engine) as after:
            twice = Twice(book.id, before, after, settings.artifacts_url)
            _compare(twice)


def _compare(twice: Twice) -> None:
    @hypothesis_settings(
        max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(query=queries, limit=st.sampled_from(LIMITS), curve=curves, values=values)
    def compare(query: IterationsQuery, limit: int, curve: CurveQuery, values: ValuesQuery) -> None:
        reads: tuple[Callable[[Connection], object], ...] = (
            lambda connection: twice.page(connection, query, limit),
            lambda connection: twice.run(connection, query),
            lambda connection: twice.layers(connection, limit),
            lambda connection: twice.metrics(connection, values, limit),
            lambda connection: twice.curve(connection, curve),
        )
        for read in reads:
            assert read(twice.after) == read(twice.before)

    compare()


def _left_in(engine: Engine, key: int) -> list[int]:
    found = []
    with transaction(engine) as connection:
        for each in ARCHIVED:
            count = select(func.count()).where(each.table.c.job_key == key)
            found.append(connection.execute(count).scalar_one())
    return found
