"""An archived job reads as it did before, whatever is asked for."""

import math
from pathlib import Path
from uuid import UUID

import numpy as np
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from foundation.settings import Settings
from models.domain.lifecycle import Outcome, StopReason
from services.archive import Archives
from services.archiving import want
from services.curves import Curve, CurveQuery, read_curve
from services.database import snapshot, transaction
from services.endings import Ending
from services.iterations import COLUMNS, IterationsQuery, read_page, read_run
from services.packed import Columns
from tests.archived import archiver
from tests.property.known_books import SERIES, KnownBook
from tests.versions import on_newest_postgres

pytestmark = on_newest_postgres

ROWS = 130_000
"""Two row groups."""
ODD = (math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e300, -1e300)

iterations = st.integers(1, ROWS + 50) | st.sampled_from([1, 15, 16, 17, 104_000, 104_001, ROWS])
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
    st.sampled_from(SERIES),
    ranges,
    st.sampled_from([2, 3, 100, 1_000, 10_000]),
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

    def curve(self, connection: Connection, query: CurveQuery) -> object:
        curve: Curve = read_curve(connection, self.job_id, query, self.archives)
        parts = curve.parts
        found = (parts.first, parts.count, parts.non_finite, parts.min, parts.max, parts.sum)
        return curve.first, curve.last, curve.bucket, [each.tobytes() for each in found]


def bits_of(columns: Columns) -> object:
    """Names in order, types, values to the bit, and which of them are missing."""
    return [
        (
            name,
            series.values.dtype.str,
            series.values.tobytes(),
            None if series.nulls is None else np.flatnonzero(series.nulls).tolist(),
        )
        for name, series in columns.items()
    ]


def test_what_is_read_of_an_archived_job_is_what_was_read_before(
    engine: Engine, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path)
    book = KnownBook(engine, seed=1)
    while book.last < ROWS:
        book.flush(min(7_001, ROWS - book.last), ODD)
        if book.last == 2 * 7_001:
            book.resume(9_999)
    book.end(Ending(Outcome.SUCCEEDED, StopReason.EPOCHS))
    with transaction(engine) as connection:
        want(connection, book.key)
    with snapshot(engine) as before:
        book_before = read_page(before, book.id, IterationsQuery(), 1, Archives("/nowhere"))
        assert book_before.total == ROWS
        archiver(engine, settings).look()
        with snapshot(engine) as after:
            twice = Twice(book.id, before, after, settings.artifacts_url)
            _compare(twice)


def _compare(twice: Twice) -> None:
    @hypothesis_settings(
        max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(query=queries, limit=st.sampled_from([1, 10, 9_999, 100_000]), curve=curves)
    def compare(query: IterationsQuery, limit: int, curve: CurveQuery) -> None:
        assert twice.page(twice.after, query, limit) == twice.page(twice.before, query, limit)
        assert twice.run(twice.after, query) == twice.run(twice.before, query)
        assert twice.curve(twice.after, curve) == twice.curve(twice.before, curve)

    compare()
