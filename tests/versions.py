"""Which PostgreSQL a test runs on: both, unless it says otherwise."""

import pytest

NEWEST = 18
OLDEST = 16

# For tests of whole processes, whose SQL other tests try on both.
on_newest_postgres = pytest.mark.parametrize("postgres", [NEWEST], indirect=True)
