"""The command that takes rows out of the book: `export`."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.connection import connect
from cli.errors import AnswerLost, ExportFailed
from cli.job_ids import find_id


class Format(StrEnum):
    CSV = "csv"
    NDJSON = "ndjson"
    ARROW = "arrow"
    PARQUET = "parquet"


BINARY = frozenset({Format.ARROW, Format.PARQUET})
SUFFIXES = {
    ".csv": Format.CSV,
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
    ".arrow": Format.ARROW,
    ".arrows": Format.ARROW,
    ".parquet": Format.PARQUET,
}

Jobs = Annotated[
    list[str],
    typer.Argument(metavar="JOB...", help="Ids, their beginnings, or `last`.", show_default=False),
]
Wanted = Annotated[
    Format | None,
    typer.Option("--format", help="What --output's name ends with, else csv, where left out."),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Where to; standard output if left out."),
]
Fields = Annotated[str | None, typer.Option(help="Columns: loss,lr. `job` and `iteration` always.")]
First = Annotated[int | None, typer.Option("--from", min=1, help="The first iteration.")]
Last = Annotated[int | None, typer.Option("--to", min=1, help="The last iteration.")]


def add_to(app: typer.Typer) -> None:
    app.command()(export)


def export(
    jobs: Jobs,
    *,
    form: Wanted = None,
    output: Output = None,
    fields: Fields = None,
    first: First = None,
    last: Last = None,
) -> None:
    """Write jobs' iterations, job after job, as CSV, NDJSON, Arrow stream or Parquet."""
    chosen = form or (SUFFIXES.get(output.suffix.lower()) if output else None) or Format.CSV
    if output is None and chosen in BINARY and sys.stdout.isatty():
        raise ExportFailed(f"{chosen} is nothing for a terminal: name a file with --output")
    with connect() as client:
        job_ids = dict.fromkeys(find_id(client, job) for job in jobs)
        query = {"fields": fields, "from": first, "to": last}
        pieces = _whole(client.export(list(job_ids), chosen, **query))
        if output is None:
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        else:
            _write(output, pieces)


def _whole(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Pass pieces on; where they break off after the first one, say that of the export."""
    count = 0
    try:
        for piece in pieces:
            count += len(piece)
            yield piece
    except AnswerLost as lost:
        if not count:
            raise
        raise ExportFailed(
            f"the export broke off after {count:,} bytes ({lost.reason}): it took too long, "
            "or the service left"
        ) from None


def _write(output: Path, pieces: Iterable[bytes]) -> None:
    """Write the file beside its place and move it there once it is whole."""
    beside = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        with beside.open("xb") as file:
            for piece in pieces:
                file.write(piece)
        beside.replace(output)
    except OSError as error:
        raise ExportFailed(f"{output}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            beside.unlink()
