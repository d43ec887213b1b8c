"""docs/sql.md: its columns are the views', its queries run, and a reader may do no more."""

import re
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import ProgrammingError

from services.database import transaction
from tests.architecture.sources import ROOT
from tests.written import write_job

PAGE = (ROOT / "docs" / "sql.md").read_text()
VIEWS = ("v_jobs", "v_iterations", "v_epochs", "v_attempts", "v_metrics", "v_metric_values")
COLUMN = re.compile(r"^\| `(\w+)` \| ([\w ]+) \|", re.MULTILINE)
QUERIES: list[str] = re.findall(r"```sql\n(SELECT.+?);\n```", PAGE, re.DOTALL)


def _documented(view: str) -> list[tuple[str, str]]:
    section = PAGE.split(f"## {view}: ")[1].split("\n## ")[0]
    return COLUMN.findall(section)


def _columns(connection: Connection, view: str) -> list[tuple[str, str]]:
    rows = connection.execute(
        text(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_name = :view ORDER BY ordinal_position"
        ),
        {"view": view},
    )
    return [(name, kind) for name, kind in rows]


@pytest.mark.parametrize("view", VIEWS)
def test_the_page_lists_a_views_columns_with_their_types(connection: Connection, view: str) -> None:
    assert _documented(view) == _columns(connection, view)


def test_the_page_has_queries() -> None:
    assert len(QUERIES) >= 4


@pytest.fixture
def reader(engine: Engine) -> Iterator[Connection]:
    with transaction(engine) as connection:
        connection.execute(text("SET LOCAL ROLE gradbook_reader"))
        yield connection


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.split("\n")[0])
def test_a_query_of_the_page_runs_as_the_reader(reader: Connection, query: str) -> None:
    assert reader.exec_driver_sql(query).keys()


@pytest.mark.parametrize("table", ["jobs", "iterations", "metric_values", "workers"])
def test_the_reader_may_not_read_what_is_no_promise(reader: Connection, table: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"):
        reader.exec_driver_sql(f"SELECT * FROM {table}")  # noqa: S608


def _query_that_says(words: str) -> str:
    introduction = PAGE.index(words)
    return next(query for query in QUERIES if PAGE.index(query) > introduction)


def test_the_query_for_missing_iterations_finds_a_hole(engine: Engine) -> None:
    query = _query_that_says("Is every iteration in the book?")
    write_job(engine).write_many(50)
    spoiled = write_job(engine)
    spoiled.write_many(40)
    with transaction(engine) as connection:
        assert connection.exec_driver_sql(query).all() == []
        connection.execute(
            text("DELETE FROM iterations WHERE job_key = :key AND iteration = 17"),
            {"key": spoiled.key},
        )
        rows = connection.exec_driver_sql(query).all()
    assert [(row.job, row.expected, row.rows) for row in rows] == [(spoiled.id, 40, 39)]


def test_the_smoothing_query_counts_sixteen_iterations_a_point(engine: Engine) -> None:
    write_job(engine).write_many(40)
    with transaction(engine) as connection:
        points = connection.exec_driver_sql(_query_that_says("smoothed over 16")).all()
    assert [(point.iteration, point.iterations) for point in points] == [(1, 16), (17, 16), (33, 8)]
    assert points[0].high == 1.0
    assert points[0].low == 1 / 16
