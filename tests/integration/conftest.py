"""What integration tests share: the API, served on a real socket by this process."""

from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import Engine

from foundation.settings import Settings
from services.claims import Slot, claim
from services.database import transaction
from services.recording import Owner
from tests.bookings import book_job
from tests.integration.owned import LEASE_SECONDS
from tests.serving import serving


@pytest.fixture
def api(settings: Settings) -> Iterator[httpx.Client]:
    """A client of an API of this test's own."""
    with serving(settings) as client:
        yield client


@pytest.fixture
def owner(engine: Engine) -> Owner:
    """An attempt that owns a running job."""
    with transaction(engine) as connection:
        key = book_job(connection)
        claimed = claim(connection, "default", Slot("w", "h", 0, "cpu"), LEASE_SECONDS)
    assert claimed is not None
    return Owner(key, claimed.attempt, LEASE_SECONDS)
