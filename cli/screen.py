"""Where commands write: tables and colours for a terminal, plain columns for a pipe."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.answers import Number

SECONDS_A_MINUTE = 60
SECONDS_AN_HOUR = 3600

STATE_STYLES = {
    "queued": "yellow",
    "running": "cyan",
    "paused": "yellow",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "magenta",
}


def console() -> Console:
    """Standard output as it is now; a line is never broken in two, so that it can be pasted."""
    return Console(soft_wrap=True, highlight=False)


def show_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table for a terminal; for a pipe a line a row, cells separated by a tab, titles first."""
    if not sys.stdout.isatty():
        for row in [columns, *rows]:
            typer.echo("\t".join(row))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column in {"id", "state", "iteration"})
    for row in rows:
        table.add_row(*(Text(cell, style=STATE_STYLES.get(cell, "")) for cell in row))
    console().print(table, soft_wrap=False)


def show_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Names and values, a line each; a fact without a value is left out."""
    screen = console()
    for name, value in facts:
        if value:
            screen.print(Text(f"{name:<16}", style="bold"), Text(value), sep="")


def number(value: Number | None, digits: int = 4) -> str:
    """A loss or an accuracy as people read it: four significant digits, `-` for none."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.{digits}g}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < SECONDS_A_MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < SECONDS_AN_HOUR:
        return f"{whole // 60}:{whole % 60:02}"
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def age(moment: str | None) -> str:
    """How long ago an RFC 3339 time was, by this machine's clock."""
    if moment is None:
        return "-"
    passed = max(datetime.now(UTC) - datetime.fromisoformat(moment), timedelta())
    if passed.days > 1:
        return f"{passed.days} days ago"
    return f"{duration(passed.total_seconds())} ago"
