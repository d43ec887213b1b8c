"""Tests wait for a condition with a deadline, never for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.02


def wait_until(condition: Callable[[], T | None], seconds: float, what: str) -> T:
    """Ask again and again until the condition holds, and return what it then says.

    Raises:
        AssertionError: the deadline passed; `what` says what was waited for.

    """
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(POLL_SECONDS)
