"""The service that the environment names."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cli.client import Client

DEFAULT_URL = "http://127.0.0.1:8000"


def connect() -> "Client":
    """A client of the service at GRADBOOK_URL, with GRADBOOK_API_KEY where that is set."""
    # Loading httpx takes longer than showing the help does.
    from cli.client import Client  # noqa: PLC0415

    return Client(
        os.environ.get("GRADBOOK_URL") or DEFAULT_URL,
        os.environ.get("GRADBOOK_API_KEY") or None,
    )
