"""Numbers, times and tables as the terminal shows them; and how soon help comes."""

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from cli.screen import (
    age,
    between,
    counted,
    duration,
    number,
    show_facts,
    show_json,
    show_table,
)

Shown = Callable[[int], list[list[str]]]

HEAVY = ("torch", "celery", "sqlalchemy", "psycopg", "fastapi", "uvicorn", "httpx", "pydantic")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0.409912, "0.4099"), (2, "2"), ("NaN", "NaN"), (1e-9, "1e-09")],
)
def test_a_number_is_shown_with_four_digits(value: float | str | None, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "-"), (0.04, "0.0 s"), (59.94, "59.9 s"), (61, "1:01"), (3_599.6, "1:00:00")],
)
def test_a_duration_grows_its_units(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


def test_an_age_is_never_negative_and_ends_in_days() -> None:
    now = datetime.now(UTC)
    assert age((now + timedelta(seconds=5)).isoformat()) == "0 s ago"
    assert age((now - timedelta(minutes=14, seconds=39)).isoformat()) == "14 min ago"
    assert age((now - timedelta(hours=30)).isoformat()) == "30 h ago"
    assert age((now - timedelta(days=3, hours=1)).isoformat()) == "3 days ago"
    assert age(None) == "-"


def test_a_span_ends_now_where_it_has_no_end() -> None:
    began = datetime.now(UTC) - timedelta(seconds=90)
    assert between(began.isoformat(), (began + timedelta(seconds=60)).isoformat()) == 60
    assert 90 <= (between(began.isoformat(), None) or 0) < 120
    assert between(None, None) is None


@pytest.mark.parametrize(
    ("count", "noun", "told"),
    [(1, "batch", "1 batch"), (1960, "batch", "1,960 batches"), (0, "sample", "0 samples")],
)
def test_what_is_counted_has_its_plural(count: int, noun: str, told: str) -> None:
    assert counted(count, noun) == told


COLUMNS = ("id", "name", "iteration", "took", "created")
ROW = ("01a20a27-0f70", "a name of thirty characters or", "1960/46000", "1:40", "14 min ago")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shown:
    def shown(width: int) -> list[list[str]]:
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", str(width))
        show_table(COLUMNS, [ROW], cropped="name", spare=("created", "took"))
        lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
        return [re.split(r"  +", line.strip()) for line in lines]

    return shown


def test_a_narrow_terminal_crops_the_name_and_never_a_number(terminal: Shown) -> None:
    assert terminal(100) == [list(COLUMNS), list(ROW)]
    assert terminal(66) == [list(COLUMNS), [ROW[0], "a name of thirty cha…", *ROW[2:]]]
    assert terminal(60)[1] == [ROW[0], "a name of thirty character…", *ROW[2:4]]
    # Too narrow for everything: what is left is shown whole.
    assert terminal(20) == [list(COLUMNS[:3]), [ROW[0], "a name of thirt…", ROW[2]]]


def test_in_a_pipe_a_table_is_a_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("id", "name"), [("1", "a [bold]name[/bold]"), ("2", "b" * 300)])
    show_facts([("name", "x" * 300), ("notes", "")])
    show_json({"loss": "NaN"})
    table = f"id\tname\n1\ta [bold]name[/bold]\n2\t{'b' * 300}\n"
    facts = f"{'name':<16}{'x' * 300}\n"
    assert capsys.readouterr().out == f'{table}{facts}{{\n  "loss": "NaN"\n}}\n'


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys, cli.main; "
        f"print(sorted(set({HEAVY!r}) & {{name.split('.')[0] for name in sys.modules}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
