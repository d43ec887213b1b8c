"""What training measures, into PostgreSQL and out of it by binary COPY."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import sql
from sqlalchemy import Connection

from models.rows import Rows
from services.aggregates import Aggregates
from services.copy_format import HEADER, CopyFormat, copying

ROWS = CopyFormat(
    "iterations",
    [
        ("job_key", ">i8"),
        ("iteration", ">i8"),
        ("epoch", ">i4"),
        ("batch", ">i4"),
        ("samples", ">i4"),
        ("loss", ">f8"),
        ("lr", ">f8"),
        ("seconds", ">f8"),
        ("grad_norm", ">f8"),
    ],
)
_METRIC_VALUES = CopyFormat(
    "metric_values",
    [
        ("job_key", ">i8"),
        ("metric", ">i4"),
        ("iteration", ">i8"),
        ("ordinal", ">i8"),
        ("value", ">f8"),
    ],
)
_SERIES_ROLLUPS = CopyFormat(
    "series_rollups",
    [
        ("job_key", ">i8"),
        ("series", ">i4"),
        ("level", ">i2"),
        ("bucket", ">i8"),
        ("first", ">i8"),
        ("count", ">i4"),
        ("non_finite", ">i4"),
        ("min", ">f8"),
        ("max", ">f8"),
        ("sum", ">f8"),
    ],
)
_COPY_LOSSES = (
    "COPY (SELECT loss FROM iterations WHERE job_key = %s AND iteration BETWEEN %s AND %s"
    " ORDER BY iteration) TO STDOUT (FORMAT BINARY)"
)
LAST_ITERATION = 2**63 - 1
BLOCK_BYTES = 1 << 18
LAYER_NORMS = ("error_norm", "grad_norm", "weight_norm", "update_ratio")
_COPY_LAYERS = sql.SQL(
    "COPY layer_readings (job_key, iteration, position, {}) FROM STDIN (FORMAT BINARY)"
).format(sql.SQL(", ").join(map(sql.Identifier, LAYER_NORMS)))
_LOSS = np.dtype([("fields", ">i2"), ("length", ">i4"), ("loss", ">i8")])


def copy_rows(connection: Connection, job_key: int, rows: Rows) -> None:
    """Write the rows within the connection's transaction."""
    with copying(connection, ROWS) as send:
        send(encode_rows(job_key, rows))


def encode_rows(job_key: int, rows: Rows) -> bytes:
    """Encode rows for `ROWS`."""
    values = {"job_key": job_key} | {name: rows[name] for name in ROWS.columns[1:]}
    missing = {"grad_norm": ~np.asarray(rows["has_grad_norm"], dtype=bool)}
    return ROWS.encode(len(rows), values, missing)


def copy_layer_readings(
    connection: Connection,
    job_key: int,
    measured: Sequence[tuple[int, Sequence[Mapping[str, Any]]]],
) -> None:
    """Write, for each iteration that was measured, what every layer got of the error.

    Args:
        connection: the transaction.
        job_key: the job.
        measured: iteration, and a reading a layer in the order of the plan's layers.

    """
    if not measured:
        return
    with (
        _driver(connection).cursor() as cursor,
        cursor.copy(_COPY_LAYERS) as copy,
    ):
        copy.set_types(("int8", "int8", "int2", *("float8" for _ in LAYER_NORMS)))
        for iteration, readings in measured:
            for position, reading in enumerate(readings):
                norms = (reading[name] for name in LAYER_NORMS)
                copy.write_row((job_key, iteration, position, *norms))


def copy_metric_values(
    connection: Connection, job_key: int, columns: Mapping[str, NDArray[Any]]
) -> None:
    """Write values of metrics: their columns but the job's, whose rows are in the key's order."""
    values: dict[str, NDArray[Any] | int] = {"job_key": job_key, **columns}
    _METRIC_VALUES.copy(connection, len(columns["value"]), values, {})


def copy_series_rollups(
    connection: Connection,
    job_key: int,
    *,
    series: NDArray[Any],
    level: NDArray[Any],
    bucket: NDArray[Any],
    cells: Aggregates,
) -> None:
    """Write buckets of sparse series: each one's series, level, number and what it comes to."""
    values: dict[str, NDArray[Any] | int] = {
        "job_key": job_key,
        "series": series,
        "level": level,
        "bucket": bucket,
        **{field.name: getattr(cells, field.name) for field in fields(cells)},
    }
    nothing = cells.without_finite
    _SERIES_ROLLUPS.copy(connection, cells.buckets, values, {"min": nothing, "max": nothing})


def copy_losses(
    connection: Connection, job_key: int, first: int = 1, last: int = LAST_ITERATION
) -> Iterator[bytes]:
    """Yield losses of a job, in iteration order, as chunks of little-endian float64 bytes.

    Iterations `first` to `last` are read, both included.

    The memory it takes does not grow with the number of rows.
    """
    pending = bytearray()
    skip = len(HEADER)
    with (
        _driver(connection).cursor() as cursor,
        cursor.copy(_COPY_LOSSES, (job_key, first, last)) as copy,
    ):
        # A block is a row: they are gathered, for numpy's call costs more than a row.
        for block in copy:
            pending += block
            if len(pending) >= BLOCK_BYTES:
                losses, pending = _losses_in(pending, skip)
                skip = 0
                yield losses
    losses, _ = _losses_in(pending, skip)
    yield losses


def _losses_in(received: bytearray, skip: int) -> tuple[bytes, bytearray]:
    """The losses of the rows that are whole, as little-endian float64; and what is left."""
    rows = (len(received) - skip) // _LOSS.itemsize
    values = np.frombuffer(received, _LOSS, count=max(0, rows), offset=skip if rows > 0 else 0)
    end = skip + rows * _LOSS.itemsize
    return values["loss"].astype("<i8").tobytes(), received[end:]


def _driver(connection: Connection) -> Any:  # noqa: ANN401 - psycopg's connection, untyped here
    return connection.connection.driver_connection
