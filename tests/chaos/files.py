"""Files that the book names: there, and byte for byte what was booked."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Row

from tests.chaos.book import Book, read_book

_SALVAGED = "(salvaged-[0-9a-f]{32}/)?"


def broken_files(book: Book, engine: Engine) -> Iterator[str]:
    """Say which booked files are not what they should be.

    One that was superseded after the book was read is gone by right: the book is asked again.
    """
    yield from _order(book)
    wrong = [row for row in _named(book) if not _is_as_booked(row)]
    if wrong:
        names = {_name(row) for row in _named(read_book(engine, str(book.job.id)))}
        yield from (
            f"{row.uri} is not as booked ({row.bytes} bytes, sha256 {row.sha256})"
            for row in wrong
            if _name(row) in names
        )


def _order(book: Book) -> Iterator[str]:
    k, keep = book.progress.iteration, book.job.spec["checkpoint"]["keep"]
    beyond = [row.iteration for row in book.checkpoints if row.iteration > k]
    if beyond:
        yield f"checkpoints at {beyond}, the book ends at {k}"
    if len(book.checkpoints) > keep:
        yield f"{len(book.checkpoints)} checkpoints are kept, {keep} should be"
    # What was made of a checkpoint after the end lies in a folder of its own.
    rooms = (("", book.checkpoints), (_SALVAGED, book.artifacts.values()))
    strangers = [
        row.uri
        for room, rows in rooms
        for row in rows
        if not re.search(f"/{book.job.id}/{room}attempt-{row.attempt}/[^/]+$", row.uri)
    ]
    if strangers:
        yield f"files in the wrong place: {strangers}"


def _named(book: Book) -> list[Row[Any]]:
    return [*book.checkpoints, *book.artifacts.values()]


def _name(row: Row[Any]) -> tuple[str, str]:
    return row.uri, row.sha256


def _is_as_booked(row: Row[Any]) -> bool:
    try:
        content = Path(row.uri).read_bytes()
    except OSError:
        return False
    found = len(content), hashlib.sha256(content).hexdigest()
    return found == (row.bytes, row.sha256)
