"""A long page in pieces: nothing lost, nothing torn, and in an order that the book takes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.domain.checkpoints import Resumed
from models.domain.metrics import MetricKind
from services.pages import LayerReading, Page, cut
from tests.measured import block_of, iteration_metrics
from tests.pretenders import epoch_of, make_rows

RESUMED = Resumed(0, 0, like=True)


@given(
    rows=st.integers(0, 60),
    metrics=st.lists(st.integers(0, 60), max_size=3),
    most=st.integers(1, 80),
)
def test_pieces_hold_what_the_page_held(rows: int, metrics: list[int], most: int) -> None:
    ends = np.cumsum(metrics).tolist()
    blocks = [
        block
        for first, last in zip([1, *(end + 1 for end in ends)], ends, strict=False)
        for block in block_of(*iteration_metrics(first, last))
    ]
    page = Page(
        resumed=RESUMED,
        rows=make_rows(1, rows) if rows else None,
        metrics=blocks,
        layers=[LayerReading(each, []) for each in range(1, rows + 1, 7)],
        epochs=[epoch_of(1)],
    )
    pieces = cut(page, most)
    assert [piece.resumed for piece in pieces] == [RESUMED, *[None] * (len(pieces) - 1)]
    assert [bool(piece.epochs) for piece in pieces] == [*[False] * (len(pieces) - 1), True]
    found = [piece.rows for piece in pieces if piece.rows is not None]
    if rows:
        assert np.array_equal(np.concatenate(found), make_rows(1, rows))
    assert [each for piece in pieces for each in piece.layers] == page.layers
    kept = [block.values["iteration"] for piece in pieces for block in piece.metrics]
    told = [block.values["iteration"] for block in blocks]
    assert sorted(np.concatenate([[], *kept])) == sorted(np.concatenate([[], *told]))
    assert_ascending(pieces, most)


def assert_ascending(pieces: list[Page], most: int) -> None:
    """No piece is too long, but for one that is of a single iteration."""
    reached = 0
    for piece in pieces:
        columns = [block.values["iteration"] for block in piece.metrics]
        if piece.rows is not None:
            columns.append(piece.rows["iteration"])
        iterations = np.concatenate([[], *columns])
        if len(iterations):
            assert len(iterations) <= most or len(np.unique(iterations)) == 1
            assert iterations.min() > reached
            reached = int(iterations.max())


def test_a_page_that_fits_is_left_alone() -> None:
    page = Page(rows=make_rows(1, 10), metrics=block_of((10, {"a": 1.0}, MetricKind.EPOCH)))
    assert cut(page, 11) == [page]
    assert len(cut(page, 10)) == 2
