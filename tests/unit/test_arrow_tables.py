"""Rows as Arrow and as Parquet: what pyarrow reads is what was written, bit for bit."""

import io
import struct
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.arrow_tables import JOB, columns_of, record_batch, schema_of
from services.iterations import COLUMNS
from services.packed import Columns, Series
from services.parquet import ROW_GROUP_ROWS, ParquetRows

any_bits = st.integers(0, 2**64 - 1).map(
    lambda bits: float(struct.unpack("<d", struct.pack("<Q", bits))[0])
)
floats = st.floats(allow_subnormal=True) | any_bits
rows = st.lists(st.tuples(st.integers(1, 2**63 - 1), floats, st.none() | floats))
NAMES = ("iteration", "loss", "grad_norm")


def columns_from(rows: list[tuple[int, float, float | None]]) -> Columns:
    norms = [0.0 if norm is None else norm for _, _, norm in rows]
    return {
        "iteration": Series(np.array([row[0] for row in rows], dtype=np.int64)),
        "loss": Series(np.array([row[1] for row in rows], dtype=np.float64)),
        "grad_norm": Series(
            np.array(norms, dtype=np.float64),
            np.array([row[2] is None for row in rows], dtype=bool),
        ),
    }


def many_rows(count: int) -> Columns:
    """All columns, every tenth row with a gradient norm, one of them NaN."""
    numbers = np.arange(1, count + 1)
    norms = np.where(numbers == 11, np.nan, np.where(numbers % 10 == 1, numbers / 7, 0))
    small = numbers.astype(np.int32)
    return {
        "iteration": Series(numbers),
        "epoch": Series(small),
        "batch": Series(small),
        "samples": Series(small),
        "loss": Series(1 / numbers),
        "lr": Series(np.full(count, 0.1)),
        "grad_norm": Series(norms, numbers % 10 != 1),
        "seconds": Series(numbers / 3),
    }


def assert_same(found: Columns, written: Columns) -> None:
    assert list(found) == list(written)
    for name, series in written.items():
        assert found[name].values.dtype == series.values.dtype
        assert found[name].values.tobytes() == series.values.tobytes(), name
        if series.nulls is not None:
            nulls = found[name].nulls
            assert nulls is not None
            assert nulls.tolist() == series.nulls.tolist()


@given(rows)
def test_a_batch_is_read_back_to_the_bit(rows: list[tuple[int, float, float | None]]) -> None:
    columns = columns_from(rows)
    assert_same(columns_of(record_batch(columns, schema_of(NAMES))), columns)


def test_what_is_missing_is_null_and_what_is_not_a_number_is_nan() -> None:
    columns = columns_from([(1, np.nan, np.nan), (2, np.inf, None), (3, -np.inf, -np.inf)])
    batch = record_batch(columns, schema_of(NAMES))
    assert batch.column("loss").null_count == 0
    assert batch.column("grad_norm").is_null().to_pylist() == [False, True, False]
    assert batch.column("grad_norm").is_nan().to_pylist() == [True, None, False]


def test_only_a_gradient_norm_can_be_missing() -> None:
    schema = schema_of((JOB, *COLUMNS))
    assert [field.name for field in schema] == [JOB, *COLUMNS]
    assert [field.name for field in schema if field.nullable] == ["grad_norm"]
    assert schema.field(JOB).type == pa.string()


@pytest.mark.parametrize("pieces", [0, 1, 30])
def test_a_parquet_file_holds_all_pieces_in_row_groups(pieces: int) -> None:
    piece, sink = many_rows(8_000), io.BytesIO()
    writer = ParquetRows(sink, schema_of(COLUMNS))
    for _ in range(pieces):
        writer.add(piece)
    writer.close()
    file = pq.ParquetFile(io.BytesIO(sink.getvalue()))
    assert file.schema_arrow == schema_of(COLUMNS)
    assert file.metadata.num_rows == pieces * 8_000
    assert file.num_row_groups == -(-pieces * 8_000 // (ROW_GROUP_ROWS + 4_000))
    for start in range(0, pieces * 8_000, 8_000):
        table = file.read().slice(start, 8_000).combine_chunks()
        assert_same(columns_of(table.to_batches()[0]), piece)


def test_a_row_group_is_written_as_soon_as_it_is_full() -> None:
    piece, sink = many_rows(ROW_GROUP_ROWS), io.BytesIO()
    writer = ParquetRows(sink, schema_of(COLUMNS))
    sizes = [sink.tell()]
    for _ in range(3):
        writer.add(piece)
        sizes.append(sink.tell())
    assert sizes[0] == len(b"PAR1")
    assert all(later - earlier > ROW_GROUP_ROWS for earlier, later in pairwise(sizes))
    writer.close()
