"""Rows as a Parquet file, written row group by row group to whatever takes bytes."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from services.arrow_tables import record_batch
from services.packed import Series

# So many rows are gathered at least: 8 MB of them, and readers skip by the group.
ROW_GROUP_ROWS = 100_000
_COMPRESSION = "zstd"
_LEVEL = 1


class Sink(Protocol):
    """Takes a file's bytes, each after the one before: nothing written is ever changed."""

    @property
    def closed(self) -> bool: ...

    def write(self, data: memoryview, /) -> int | None: ...

    def tell(self) -> int: ...

    def flush(self) -> None: ...


class ParquetRows:
    """Writes pieces of rows to a sink; the file is whole once it is closed.

    Memory holds the rows of one row group, and a few bytes about each that is written.
    """

    def __init__(self, sink: Sink, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = ParquetWriter(
            sink,
            schema,
            compression=_COMPRESSION,
            compression_level=_LEVEL,
            write_page_checksum=True,
        )
        self._gathered: list[pa.RecordBatch] = []
        self._rows = 0

    def add(self, lines: Mapping[str, Series | Sequence[str]]) -> None:
        batch = record_batch(lines, self._schema)
        self._gathered.append(batch)
        self._rows += batch.num_rows
        if self._rows >= ROW_GROUP_ROWS:
            self._write_group()

    def close(self) -> None:
        """Write what is left, and what the file is about."""
        if self._rows:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        group = pa.Table.from_batches(self._gathered, self._schema)
        self._writer.write_table(group, row_group_size=self._rows)
        self._gathered, self._rows = [], 0
