"""The service as a client sees it that minds no restart: it asks again until it is answered."""

import contextlib
import time
from collections import Counter
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import httpx

PATIENCE_SECONDS = 120.0
PAUSE_SECONDS = 0.1
TIMEOUT_SECONDS = 10.0
EVENTS_A_PAGE = 1_000
AWAY = frozenset({HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE})
"""Worth asking again; what the service itself did not expect is counted as that."""

Json = dict[str, Any]


class Refused(AssertionError):
    """The service answered something that the contract does not have for this."""


class Service:
    """One client; not to be shared by threads.

    Args:
        url: the API's.

    """

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=f"{url}/v1", timeout=TIMEOUT_SECONDS)
        self.troubles: Counter[str] = Counter()
        """Answers and silences that a client had to ask again for."""

    def submit(self, spec: Json) -> str:
        """Submit the spec, once however often it has to be said; the job's id."""
        headers = {"Idempotency-Key": uuid4().hex}
        answer = self._ask("POST", "/jobs", {HTTPStatus.CREATED}, json=spec, headers=headers)
        return str(answer.json()["id"])

    def job(self, job_id: str) -> Json:
        return dict(self._ask("GET", f"/jobs/{job_id}", {HTTPStatus.OK}).json())

    def state(self, job_id: str) -> str:
        return str(self.job(job_id)["state"])

    def act(self, job_id: str, verb: str) -> bool:
        """Cancel, stop, pause, resume or retry; False where the job's state forbids it."""
        fine = {HTTPStatus.ACCEPTED, HTTPStatus.CONFLICT}
        answer = self._ask("POST", f"/jobs/{job_id}/{verb}", fine)
        return answer.status_code == HTTPStatus.ACCEPTED

    def events(self, job_id: str) -> list[Json]:
        """All of them, in order."""
        found: list[Json] = []
        cursor: str | None = None
        while True:
            asked = {"limit": EVENTS_A_PAGE, **({} if cursor is None else {"cursor": cursor})}
            page = self._ask("GET", f"/jobs/{job_id}/events", {HTTPStatus.OK}, params=asked).json()
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found

    def _ask(
        self,
        method: str,
        path: str,
        fine: set[HTTPStatus],
        **more: Any,  # noqa: ANN401 - httpx's
    ) -> httpx.Response:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            trouble = "no answer"
            with contextlib.suppress(httpx.TransportError):
                answer = self._http.request(method, path, **more)
                if answer.status_code in fine:
                    return answer
                if answer.status_code not in AWAY:
                    raise Refused(f"{method} {path}: {answer.status_code} {answer.text}")
                trouble = str(answer.status_code)
            self.troubles[trouble] += 1
            if time.monotonic() > deadline:
                raise Refused(f"{method} {path}: {trouble} for {PATIENCE_SECONDS:.0f} s")
            time.sleep(PAUSE_SECONDS)

    def close(self) -> None:
        self._http.close()
