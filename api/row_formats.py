"""Rows as text: columnar JSON, NDJSON, CSV.

Whole columns are turned into text at once and then laced together, so no Python object is made
a row. A float is its shortest text that reads back as the same 64 bits; NaN and the infinities
are the words "NaN", "Infinity", "-Infinity", in CSV without quotes; a missing value is null, in
CSV nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from services.packed import Series

Lines = Mapping[str, Series | Sequence[str]]
"""Rows by columns; a column is of numbers or of words."""

_NULL = b"null"


def page_json(columns: Lines, rest: Mapping[str, object]) -> bytes:
    """`{"columns": {"iteration": [1, 2], …}, …rest}`."""
    inner = b",".join(
        orjson.dumps(name) + b":" + column_json(column) for name, column in columns.items()
    )
    return b'{"columns":{' + inner + b"}," + orjson.dumps(rest)[1:]


def ndjson(columns: Lines) -> bytes:
    """One object a row and line, with the columns' names as keys."""
    names = [orjson.dumps(name) + b":" for name in columns]
    before = [b"{" + names[0], *(b"," + name for name in names[1:])]
    return _lace(before, [_json_cells(column) for column in columns.values()], b"}\n")


def csv_header(columns: Sequence[str]) -> bytes:
    return ",".join(columns).encode() + b"\n"


def csv(columns: Lines) -> bytes:
    """One line a row, without the header; words must need no quotes."""
    before = [b"", *(b"," for _ in range(len(columns) - 1))]
    return _lace(before, [_csv_cells(column) for column in columns.values()], b"\n")


def _lace(before: Sequence[bytes], cells: Sequence[Sequence[bytes]], end: bytes) -> bytes:
    """Write before[0] cell before[1] cell … end for each row."""
    rows, step = len(cells[0]), 2 * len(cells) + 1
    pieces: list[bytes] = [end] * (rows * step)
    for place, (prefix, column) in enumerate(zip(before, cells, strict=True)):
        pieces[2 * place :: step] = [prefix] * rows
        pieces[2 * place + 1 :: step] = column
    return b"".join(pieces)


def column_json(column: Series | Sequence[str]) -> bytes:
    """`[1, 2, …]`."""
    if not isinstance(column, Series):
        return orjson.dumps(column)
    return b"[" + b",".join(_json_cells(column)) + b"]"


def _json_cells(column: Series | Sequence[str]) -> list[bytes]:
    if not isinstance(column, Series):
        return [orjson.dumps(word) for word in column]
    return _patched(column, b'"%b"')


def _csv_cells(column: Series | Sequence[str]) -> list[bytes]:
    if not isinstance(column, Series):
        return [word.encode() for word in column]
    cells = _patched(column, b"%b")
    if column.nulls is None:
        return cells
    return [b"" if cell == _NULL else cell for cell in cells]


def _patched(column: Series, word: bytes) -> list[bytes]:
    """Every value's text: a missing one is null, one that is not finite is its word."""
    values = column.values
    if column.nulls is not None:
        # orjson writes null for what is not finite, which is what a missing value shall be.
        values = np.where(column.nulls, np.nan, values)
    if not len(values):
        return []
    text = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    cells = text[1:-1].split(b",")
    for row in _not_finite(column):
        cells[row] = word % _word(column.values[row])
    return cells


def _not_finite(column: Series) -> NDArray[np.intp]:
    if column.values.dtype.kind != "f":
        return np.empty(0, np.intp)
    odd = ~np.isfinite(column.values)
    return np.flatnonzero(odd if column.nulls is None else odd & ~column.nulls)


def _word(value: np.floating[Any]) -> bytes:
    if np.isnan(value):
        return b"NaN"
    return b"Infinity" if value > 0 else b"-Infinity"
