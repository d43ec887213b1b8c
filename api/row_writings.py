"""How rows become an answer, by its format: NDJSON, CSV, an Arrow stream, a Parquet file."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from api import row_formats
from api.row_formats import Lines
from api.streaming import Writing
from services.arrow_tables import record_batch, schema_of
from services.parquet import ParquetRows

ARROW_STREAM = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
NDJSON = "application/x-ndjson"
CONTENT: Mapping[str, Any] = {NDJSON: {}, "text/csv": {}, ARROW_STREAM: {}, PARQUET: {}}

# What an Arrow stream ends with: a continuation marker, and a message of no bytes.
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def writing_of(form: str, columns: Sequence[str]) -> Writing[Lines]:
    """Write rows with these columns; one answer's own, as a file's writer keeps what is before."""
    if form == "csv":
        head = row_formats.csv_header(columns)
        return Writing(row_formats.csv, "text/csv; header=present", head)
    if form == "arrow":
        return _arrow(columns)
    if form == "parquet":
        return _parquet(columns)
    return Writing(row_formats.ndjson, NDJSON)


def _arrow(columns: Sequence[str]) -> Writing[Lines]:
    schema = schema_of(columns)

    def piece(lines: Lines) -> bytes:
        written: bytes = record_batch(lines, schema).serialize().to_pybytes()
        return written

    head = schema.serialize().to_pybytes()
    return Writing(piece, ARROW_STREAM, head, lambda: _END_OF_STREAM)


def _parquet(columns: Sequence[str]) -> Writing[Lines]:
    outbox = _Outbox()
    rows = ParquetRows(outbox, schema_of(columns))

    def piece(lines: Lines) -> bytes:
        rows.add(lines)
        return outbox.take()

    def tail() -> bytes:
        rows.close()
        return outbox.take()

    return Writing(piece, PARQUET, outbox.take(), tail)


class _Outbox(io.RawIOBase):
    """A file whose bytes are taken away as they are written."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        self._pieces.append(bytes(data))
        self._written += len(data)
        return len(data)

    def tell(self) -> int:
        return self._written

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken
