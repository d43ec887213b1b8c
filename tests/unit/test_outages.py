"""Which errors on the way to the database are tried again, and which are somebody's mistake."""

import psycopg
import psycopg.errors
import pytest
import sqlalchemy.exc

from worker.line import MISTAKES, OUTAGES, is_outage

BY_SERVER = sorted(
    (
        error
        for error in vars(psycopg.errors).values()
        if isinstance(error, type) and issubclass(error, psycopg.Error) and error.sqlstate
    ),
    key=lambda error: error.sqlstate or "",
)


@pytest.mark.parametrize(
    "state",
    [
        "08006",  # the connection broke
        "25006",  # a standby
        "25P03",  # stood still in a transaction
        "25P04",  # a transaction that took too long
        "26000",  # a pooler has given us another session
        "40001",
        "40P01",
        "53100",  # the disk is full
        "53300",  # too many connections
        "55P03",  # somebody holds the rows
        "57014",
        "57P01",  # it shuts down
        "57P03",  # it starts
        "58030",  # its disk fails
        "XX000",
    ],
)
def test_what_may_go_better_the_next_time_is_an_outage(state: str) -> None:
    assert is_outage(psycopg.errors.lookup(state)())


@pytest.mark.parametrize(
    "state", ["0A000", "21000", "22003", "22P02", "23505", "23514", "42501", "42601", "42P01"]
)
def test_what_another_try_meets_again_is_none(state: str) -> None:
    assert not is_outage(psycopg.errors.lookup(state)())


def test_every_error_of_a_server_that_is_in_no_class_of_mistakes_is_an_outage() -> None:
    assert len(BY_SERVER) > 200
    for error in BY_SERVER:
        state = error.sqlstate or ""
        assert is_outage(error()) == (state[:2] not in MISTAKES), state
        wrapped = sqlalchemy.exc.DBAPIError("SELECT 1", {}, error())
        assert is_outage(wrapped) == is_outage(error()), state


def test_none_that_goes_past_a_line_is_told_otherwise() -> None:
    """OUTAGES names classes, the table states: a class must not take a mistake for an outage."""
    taken = [error for error in BY_SERVER if issubclass(error, OUTAGES)]
    assert taken
    assert [error for error in taken if not is_outage(error())] == []


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("server closed the connection unexpectedly"),
        psycopg.InterfaceError("the connection is closed"),
        # What psycopg makes of an error of libpq's own, which has no state.
        psycopg.DatabaseError("lost synchronization with server"),
        sqlalchemy.exc.TimeoutError("no connection was free"),
    ],
)
def test_a_connection_that_is_lost_has_no_state_and_is_an_outage(error: Exception) -> None:
    assert is_outage(error)


@pytest.mark.parametrize(
    "error",
    [
        psycopg.ProgrammingError("cannot adapt type 'object'"),
        psycopg.DataError("integer out of range"),
        psycopg.NotSupportedError("not with this libpq"),
        sqlalchemy.exc.NoResultFound("no row"),
        RuntimeError("something else"),
    ],
)
def test_what_never_reached_a_server_is_none(error: Exception) -> None:
    assert not is_outage(error)
