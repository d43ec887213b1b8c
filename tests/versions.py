"""Which PostgreSQL a test runs on: both, unless it says otherwise."""

import pytest

from cli.stack.binaries import PostgresVersion

NEWEST: PostgresVersion = 18
OLDEST: PostgresVersion = 16

# For tests of processes, signals, HTTP's forms and reading from files, whose SQL other tests try
# on both, and of refusals, which come before any SQL.
on_newest_postgres = pytest.mark.newest_postgres


def leaves_out_oldest(item: pytest.Item) -> bool:
    """Whether this is the older server's turn of a test that wants the newest alone."""
    if item.get_closest_marker("newest_postgres") is None:
        return False
    call = getattr(item, "callspec", None)
    return call is not None and call.params.get("postgres") == OLDEST
