"""Rows as Arrow: the schema of their columns, record batches of them, and columns read back.

What is missing is null and what is not a number is NaN: here, too, they are different things, and
every float is the same 64 bits on both sides.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import BigInteger, Column, Integer, SmallInteger
from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION

from models.tables import iterations, metric_values
from services.packed import Columns, Series

JOB = "job"
"""The column in front where rows are of several jobs: the job's id, as text."""
METRIC = "metric"
"""The column in front of a metric's values: its name."""

_TYPES: Mapping[type, pa.DataType] = {
    BigInteger: pa.int64(),
    Integer: pa.int32(),
    SmallInteger: pa.int16(),
    DOUBLE_PRECISION: pa.float64(),
}


def schema_of(names: Iterable[str]) -> pa.Schema:
    """Describe columns of iterations or of metrics, in this order; JOB and METRIC are words."""
    return pa.schema([_field(name) for name in names])


def schema_of_columns(columns: Iterable[Column[Any]]) -> pa.Schema:
    """Describe columns of a table that holds numbers, in this order."""
    return pa.schema([_number_field(column) for column in columns])


def record_batch(lines: Mapping[str, Series | Sequence[str]], schema: pa.Schema) -> pa.RecordBatch:
    """Take up columns, without a copy where nothing can be missing; in the schema's order."""
    arrays = [_array(lines[field.name], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def columns_of(batch: pa.RecordBatch) -> Columns:
    """Read columns of numbers back as they were taken up; a missing value is 0 and marked."""
    return {
        field.name: _series(array, nullable=field.nullable)
        for field, array in zip(batch.schema, batch.columns, strict=True)
        if field.name != JOB
    }


def _field(name: str) -> pa.Field:
    if name in {JOB, METRIC}:
        return pa.field(name, pa.string(), nullable=False)
    return _number_field(metric_values.c.value if name == "value" else iterations.c[name])


def _number_field(column: Column[Any]) -> pa.Field:
    return pa.field(column.name, _TYPES[type(column.type)], nullable=bool(column.nullable))


def _array(column: Series | Sequence[str], kind: pa.DataType) -> pa.Array:
    if not isinstance(column, Series):
        return pa.array(column, kind)
    # Without the last word a NaN would be null as soon as there is a mask.
    return pa.array(column.values, kind, mask=column.nulls, from_pandas=False)


def _series(array: pa.Array, *, nullable: bool) -> Series:
    if not nullable:
        return Series(array.to_numpy())
    nulls = array.is_null().to_numpy(zero_copy_only=False)
    if not nulls.any():
        return Series(array.to_numpy(), nulls)
    return Series(np.asarray(array.fill_null(0).to_numpy()), nulls)
