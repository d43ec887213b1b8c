"""Rows of several tables in one statement, each table's end told at once."""

import numpy as np
import psycopg
import pytest
from sqlalchemy import Connection, Engine, func, select

from models.tables import iterations, metric_values
from services.copy_format import NOTHING, CopyFormat, Values, copying
from services.copying import ROWS, encode_rows
from services.database import transaction
from tests.written import WrittenJob, make_rows, write_job

VALUES = CopyFormat(
    "metric_values",
    [
        ("job_key", ">i8"),
        ("metric", ">i4"),
        ("iteration", ">i8"),
        ("ordinal", ">i8"),
        ("value", ">f8"),
    ],
)
COUNT = 3


@pytest.fixture
def job(engine: Engine) -> WrittenJob:
    return write_job(engine)


def values_of(job: WrittenJob) -> bytes:
    numbers = np.arange(1, COUNT + 1)
    values: Values = {
        "job_key": job.key,
        "metric": 1,
        "iteration": numbers,
        "ordinal": numbers,
        "value": numbers / 2,
    }
    return VALUES.encode(COUNT, values, {})


def written(connection: Connection) -> tuple[int, int]:
    counts = (select(func.count()).select_from(each) for each in (iterations, metric_values))
    one, other = (connection.execute(count).scalar_one() for count in counts)
    return one, other


def write(connection: Connection, tables: dict[CopyFormat, bytes]) -> None:
    with copying(connection, *tables) as send:
        for data in tables.values():
            send(data)


@pytest.mark.parametrize("count", [5, 3_000])
def test_tables_are_written_one_after_the_other(
    engine: Engine, job: WrittenJob, count: int
) -> None:
    rows = encode_rows(job.key, make_rows([0.5] * count))
    with transaction(engine) as connection:
        write(connection, {ROWS: rows, VALUES: values_of(job)})
        assert written(connection) == (count, COUNT)


def test_a_table_may_get_no_row(engine: Engine, job: WrittenJob) -> None:
    with transaction(engine) as connection:
        write(connection, {ROWS: NOTHING, VALUES: values_of(job)})
        assert written(connection) == (0, COUNT)


def write_until(connection: Connection, tables: dict[CopyFormat, bytes], sent: int) -> None:
    with copying(connection, *tables) as send:
        for data in [*tables.values()][:sent]:
            send(data)
        raise ZeroDivisionError


@pytest.mark.parametrize("sent", [0, 1, 2])
def test_a_block_that_fails_says_why_and_leaves_the_connection_in_order(
    engine: Engine, job: WrittenJob, sent: int
) -> None:
    tables = {ROWS: encode_rows(job.key, make_rows([0.5])), VALUES: values_of(job)}
    with engine.connect() as connection:
        connection.begin()
        with pytest.raises(ZeroDivisionError):
            write_until(connection, tables, sent)
        connection.rollback()
        assert written(connection) == (0, 0)


def test_a_table_that_is_left_out_is_refused(engine: Engine, job: WrittenJob) -> None:
    with engine.connect() as connection:
        connection.begin()
        with (
            pytest.raises(psycopg.errors.QueryCanceled, match="not all rows came"),
            copying(connection, ROWS, VALUES) as send,
        ):
            send(encode_rows(job.key, make_rows([0.5])))
        connection.rollback()
        assert written(connection) == (0, 0)


@pytest.mark.parametrize("is_last", [False, True])
def test_rows_that_are_there_already_are_told(
    engine: Engine, job: WrittenJob, caplog: pytest.LogCaptureFixture, *, is_last: bool
) -> None:
    rows = {ROWS: encode_rows(job.key, make_rows([0.5]))}
    values = {VALUES: values_of(job)}
    job.write_rows(make_rows([0.5]))
    with engine.connect() as connection:
        connection.begin()
        with pytest.raises(psycopg.errors.UniqueViolation, match="pk_iterations"):
            write(connection, values | rows if is_last else rows | values)
        connection.rollback()
        assert written(connection) == (1, 0)
    # A table that fails takes those after it with it: nothing more is told to the server.
    assert [record.message for record in caplog.records if record.name == "psycopg"] == []
