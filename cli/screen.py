"""Where commands write: tables and colours for a terminal, plain columns for a pipe."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.answers import Number

SECONDS_A_MINUTE = 60
SECONDS_AN_HOUR = 3600
SECONDS_A_DAY = 86_400
LEAST_CROPPED = 16
GAP = 2
FACT_WIDTH = 18

STATE_STYLES = {
    "queued": "yellow",
    "running": "cyan",
    "paused": "yellow",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "magenta",
}


def console(width: int | None = None) -> Console:
    """Standard output as it is now; a line is never broken in two, so that it can be pasted."""
    return Console(soft_wrap=True, highlight=False, width=width)


def show_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def show_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    cropped: str | None = None,
    spare: Sequence[str] = (),
) -> None:
    """A table for a terminal; for a pipe a line a row, cells separated by a tab, titles first.

    Args:
        columns: the titles.
        rows: a cell a column.
        cropped: the column that gives way where the terminal is narrow; no other is ever cut.
        spare: columns that are left out, the first one first, before that one has no room.

    """
    if not sys.stdout.isatty():
        for row in [columns, *rows]:
            typer.echo("\t".join(row))
        return
    cells, screen = list(rows), console()
    wanted = {
        title: max(cell_len(row[place]) for row in [columns, *cells])
        for place, title in enumerate(columns)
    }
    shown = _fitting(wanted, screen.width, cropped, spare)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in shown:
        table.add_column(title, no_wrap=True, overflow="ellipsis", width=shown[title])
    places = [place for place, title in enumerate(columns) if title in shown]
    for row in cells:
        table.add_row(*(_cell(row[place]) for place in places))
    # What does not fit goes over the edge: a number that is cut is another number.
    console(max(screen.width, _width(shown))).print(table, soft_wrap=False)


def _cell(text: str) -> Text:
    return Text(text, style=STATE_STYLES.get(text, ""))


def _fitting(
    wanted: dict[str, int], room: int, cropped: str | None, spare: Sequence[str]
) -> dict[str, int]:
    """The columns that are shown, each with its width."""
    shown, leaving = dict(wanted), list(spare)
    while True:
        over = _width(shown) - room
        if over <= 0:
            return shown
        least = min(shown[cropped], LEAST_CROPPED) if cropped else 0
        if cropped and shown[cropped] - over >= least:
            return shown | {cropped: shown[cropped] - over}
        if not leaving:
            return shown | ({cropped: least} if cropped else {})
        del shown[leaving.pop(0)]


def _width(shown: dict[str, int]) -> int:
    return sum(shown.values()) + GAP * (len(shown) - 1)


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
    passed = max(datetime.now(UTC) - datetime.fromisoformat(moment), timedelta()).total_seconds()
    if passed < SECONDS_A_MINUTE:
        return f"{passed:.0f} s ago"
    if passed < SECONDS_AN_HOUR:
        return f"{passed // SECONDS_A_MINUTE:.0f} min ago"
    if passed < 2 * SECONDS_A_DAY:
        return f"{passed // SECONDS_AN_HOUR:.0f} h ago"
    return f"{passed // SECONDS_A_DAY:.0f} days ago"


def between(began: str | None, ended: str | None) -> float | None:
    """Seconds from one RFC 3339 time to another, or until now; None where it has not begun."""
    if began is None:
        return None
    end = datetime.now(UTC) if ended is None else datetime.fromisoformat(ended)
    return max(0.0, (end - datetime.fromisoformat(began)).total_seconds())


def counted(count: int, noun: str) -> str:
    """`1 batch`, `1,960 batches`."""
    plural = f"{noun}es" if noun.endswith("ch") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def fact_line(name: str, value: str) -> str:
    """A step or a number on its way, as `up` and `demo` tell them."""
    return f"  {name:<{FACT_WIDTH}}{value}"


def shown_path(path: Path) -> str:
    """The path from here where it lies below, else the whole of it."""
    absolute, here = path.absolute(), Path.cwd()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)
