"""How long after its POST a job's first row can be read."""

import threading
import time
from typing import Self

from cli.client import Client
from cli.errors import Refused

# Short beside the 0.2 s that it measures, and long enough to leave the trainer its core.
_POLL_SECONDS = 0.01


class FirstRow:
    """Asks for a job's first row, on a thread of its own, until it is there.

    Args:
        url: the service's address.
        job_id: the job.
        began: the `time.monotonic()` from which to count, taken before the POST.

    """

    def __init__(self, url: str, job_id: str, began: float) -> None:
        self._url, self._job_id, self._began = url, job_id, began
        self._seen: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="first row", daemon=True)

    @property
    def seconds(self) -> float | None:
        """From `began` to the answer that held the row; None while there was none."""
        return None if self._seen is None else self._seen - self._began

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _ask(self) -> None:
        with Client(self._url) as client:
            while not self._over.wait(_POLL_SECONDS):
                try:
                    page = next(client.iterations(self._job_id, "loss", limit=1))
                except Refused:
                    # The main thread meets the same trouble, and tells it.
                    continue
                if page["columns"]["iteration"]:
                    self._seen = time.monotonic()
                    return
