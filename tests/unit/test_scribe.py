"""How an attempt waits for its database."""

import pytest

from worker.scribe import LONGEST_PAUSE_SECONDS, longest_pause


@pytest.mark.parametrize("lease_seconds", [0.5, 1.5, 6.0, 60.0])
def test_who_waits_for_the_database_tries_it_several_times_a_lease(lease_seconds: float) -> None:
    assert 0 < longest_pause(lease_seconds) <= min(LONGEST_PAUSE_SECONDS, lease_seconds / 3)
