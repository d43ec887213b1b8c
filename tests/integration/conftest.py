"""What integration tests share: the API, served on a real socket by this process."""

from collections.abc import Iterator

import httpx
import pytest

from foundation.settings import Settings
from tests.serving import serving


@pytest.fixture
def api(settings: Settings) -> Iterator[httpx.Client]:
    """A client of an API of this test's own."""
    with serving(settings) as client:
        yield client
