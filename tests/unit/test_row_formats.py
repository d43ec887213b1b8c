"""Rows as text: what a standard reader makes of it is what was written, bit for bit."""

import csv
import io
import json
import struct
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from api.row_formats import csv as write_csv
from api.row_formats import csv_header, ndjson, page_json
from services.packed import Columns, Series

WORDS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}

bit_patterns = st.integers(0, 2**64 - 1).map(
    lambda bits: float(struct.unpack("<d", struct.pack("<Q", bits))[0])
)
floats = st.floats(allow_subnormal=True) | bit_patterns
rows = st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), floats, st.none() | floats))


def columns_of(rows: list[tuple[int, float, float | None]]) -> Columns:
    return {
        "iteration": Series(np.array([row[0] for row in rows], dtype=np.int64)),
        "loss": Series(np.array([row[1] for row in rows], dtype=np.float64)),
        "grad_norm": Series(
            np.array([0.0 if row[2] is None else row[2] for row in rows], dtype=np.float64),
            np.array([row[2] is None for row in rows], dtype=bool),
        ),
    }


def bits(value: float | str | None) -> bytes | None:
    """A value's 64 bits; every NaN counts as the same."""
    if value is None:
        return None
    number = WORDS[value] if value in WORDS else float(value)
    return b"NaN" if number != number else struct.pack("<d", number)  # noqa: PLR0124 - NaN


def comparable(rows: list[Any]) -> list[Any]:
    return [(row[0], bits(row[1]), bits(row[2])) for row in rows]


@given(rows)
def test_ndjson_is_read_back(rows: list[tuple[int, float, float | None]]) -> None:
    lines = ndjson(columns_of(rows)).decode().splitlines()
    found = [json.loads(line) for line in lines]
    assert all(list(each) == ["iteration", "loss", "grad_norm"] for each in found)
    read = [(each["iteration"], each["loss"], each["grad_norm"]) for each in found]
    assert comparable(read) == comparable(rows)


@given(rows)
def test_columnar_json_is_read_back(rows: list[tuple[int, float, float | None]]) -> None:
    page = json.loads(page_json(columns_of(rows), {"total": 3, "next_cursor": None}))
    columns = page["columns"]
    read = list(zip(columns["iteration"], columns["loss"], columns["grad_norm"], strict=True))
    assert comparable(read) == comparable(rows)
    assert (page["total"], page["next_cursor"]) == (3, None)


@given(rows)
def test_csv_is_read_back(rows: list[tuple[int, float, float | None]]) -> None:
    columns = columns_of(rows)
    table = (csv_header(tuple(columns)) + write_csv(columns)).decode()
    read = [
        (int(row["iteration"]), row["loss"], row["grad_norm"] or None)
        for row in csv.DictReader(io.StringIO(table))
    ]
    assert comparable(read) == comparable(rows)


def test_text_columns_stand_beside_numbers() -> None:
    page = page_json({"layer": ["conv1"], "error_norm": Series(np.array([0.5]))}, {"every": 50})
    assert page == b'{"columns":{"layer":["conv1"],"error_norm":[0.5]},"every":50}'
