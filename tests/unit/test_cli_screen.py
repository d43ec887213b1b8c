"""Numbers, times and tables as the terminal shows them; and how soon help comes."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from cli.screen import age, duration, number, show_facts, show_json, show_table

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
    assert age((now + timedelta(seconds=5)).isoformat()) == "0.0 s ago"
    assert age((now - timedelta(days=3, hours=1)).isoformat()) == "3 days ago"
    assert age(None) == "-"


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
