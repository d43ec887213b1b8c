"""The service as seen from a terminal: one method a call of the REST contract."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self, cast
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx

from cli.answers import IterationPage, Job, JobPage, LogPage, Plan, Worker
from cli.errors import (
    AddressInvalid,
    AnswerLost,
    ServiceAway,
    ServiceRefused,
    ServiceStrange,
    SubmitUnclear,
)

CONNECT_TIMEOUT_SECONDS = 3.0
# A stream of a hundred thousand rows, or a plan of a thousand layers, may take its time.
ANSWER_TIMEOUT_SECONDS = 60.0
ROWS_A_PAGE = 100_000
LIST_PAGE = 200
LINES_A_PAGE = 1_000
# Before a submit whose answer was lost is sent again; together longer than an API process takes
# to be started again.
PAUSES_SECONDS = (0.5, 2.0, 6.0)

SERVER_ERROR = 500
JSON_TYPE = {"Content-Type": "application/json"}

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Client:
    """A connection to one service.

    Every method raises `ServiceAway` where nothing answers and `ServiceRefused` where the
    answer is a problem.

    Args:
        url: the service's address without `/v1`.
        key: sent as a bearer token where given.

    Raises:
        AddressInvalid: `url` is none.

    """

    def __init__(self, url: str, key: str | None = None) -> None:
        self.url = url.rstrip("/")
        parsed = _address(self.url)
        self._http = httpx.Client(
            base_url=f"{self.url}/v1",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(ANSWER_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS),
            # Reading the certificates takes longer than the whole call to a plain address.
            verify=parsed.scheme == "https",
            # A proxy cannot reach this machine's own service.
            trust_env=parsed.host not in _LOOPBACK,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def plan(self, spec: object) -> Plan:
        return cast("Plan", self._send("POST", "/plan", spec))

    def submit(self, spec: object) -> Job:
        """Queue a job, once, also where the connection breaks before the answer came.

        The spec is sent again then, three times at most, with the same Idempotency-Key: the
        service makes the job or finds it.

        Raises:
            SubmitUnclear: there was no answer to the last time either.

        """
        key = {"Idempotency-Key": str(uuid4())}
        try:
            return cast("Job", self._send("POST", "/jobs", spec, headers=key))
        except AnswerLost as lost:
            return self._submit_again(spec, key, lost)

    def _submit_again(self, spec: object, key: dict[str, str], lost: ServiceAway) -> Job:
        for pause_seconds in PAUSES_SECONDS:
            time.sleep(pause_seconds)
            try:
                return cast("Job", self._send("POST", "/jobs", spec, headers=key))
            except ServiceAway as away:
                lost = away
            except ServiceRefused as refused:
                # A trouble of its own, or the first try is still at work and holds the key.
                if refused.status < SERVER_ERROR:
                    raise
        raise SubmitUnclear(lost)

    def job(self, job_id: str, *, timeout_seconds: float = ANSWER_TIMEOUT_SECONDS) -> Job:
        return cast("Job", self._send("GET", _path(job_id), timeout_seconds=timeout_seconds))

    def jobs(self, *, limit: int, **parameters: Any) -> Iterator[Job]:  # noqa: ANN401 - query values
        """At most `limit`; `parameters` are those of `GET /v1/jobs`, which orders newest first."""
        cursor: str | None = None
        left = limit
        while left > 0:
            query = {**parameters, "limit": min(left, LIST_PAGE), "cursor": cursor}
            page = cast("JobPage", self._send("GET", "/jobs", query=query))
            yield from page["items"]
            left -= len(page["items"])
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def ask(self, job_id: str, action: str) -> Job:
        """Ask for `cancel`, `stop`, `pause`, `resume`, `retry` or `archive`."""
        return cast("Job", self._send("POST", f"{_path(job_id)}/{action}"))

    def iterations(
        self, job_id: str, fields: str, *, limit: int = ROWS_A_PAGE, first: int = 1
    ) -> Iterator[IterationPage]:
        """Pages of rows from iteration `first` on; `fields` as in the contract."""
        cursor: str | None = None
        while True:
            query = {"fields": fields, "limit": limit, "from": first, "cursor": cursor}
            page = cast(
                "IterationPage", self._send("GET", f"{_path(job_id)}/iterations", query=query)
            )
            yield page
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def log_page(self, job_id: str, cursor: str | None) -> LogPage:
        query = {"limit": LINES_A_PAGE, "cursor": cursor}
        return cast("LogPage", self._send("GET", f"{_path(job_id)}/logs", query=query))

    def workers(self) -> list[Worker]:
        return cast("list[Worker]", self._send("GET", "/workers")["items"])

    def artifact(self, job_id: str, name: str) -> Iterator[bytes]:
        """The artifact's bytes in pieces, never whole in memory."""
        return self._stream(f"{_path(job_id)}/artifacts/{quote(name, safe='')}", {})

    def export(self, job_ids: Sequence[str], form: str, **parameters: Any) -> Iterator[bytes]:  # noqa: ANN401 - query values
        """The jobs' rows in pieces; `parameters` are those of `GET /v1/export`.

        Raises:
            AnswerLost: it broke off, before its first byte or after.

        """
        return self._stream("/export", {"job": list(job_ids), "format": form, **parameters})

    def _stream(self, path: str, query: dict[str, Any]) -> Iterator[bytes]:
        asked = {key: value for key, value in query.items() if value is not None}
        with self._mapped(), self._http.stream("GET", path, params=asked) as answer:
            if answer.is_error:
                answer.read()
                raise self._refusal(answer)
            yield from answer.iter_bytes()

    def _send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        timeout_seconds: float = ANSWER_TIMEOUT_SECONDS,
    ) -> dict[str, Any]:
        asked = {key: value for key, value in (query or {}).items() if value is not None}
        with self._mapped():
            answer = self._http.request(
                method,
                path,
                params=asked,
                timeout=httpx.Timeout(timeout_seconds, connect=CONNECT_TIMEOUT_SECONDS),
                content=None if body is None else _json_bytes(body),
                headers={**({} if body is None else JSON_TYPE), **(headers or {})},
            )
        if answer.is_error or not answer.is_success:
            raise self._refusal(answer)
        found = _object(answer)
        if found is None:
            raise ServiceStrange(self.url, answer.status_code)
        return found

    def _refusal(self, answer: httpx.Response) -> ServiceRefused:
        problem = _object(answer)
        # Every one of Gradbook's problems has a title.
        if problem is None or "title" not in problem:
            return ServiceStrange(self.url, answer.status_code)
        return ServiceRefused(answer.status_code, problem)

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError:
            raise ServiceAway(self.url) from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise AddressInvalid(self.url) from None
        except (httpx.ConnectTimeout, httpx.ProxyError, httpx.PoolTimeout) as away:
            raise ServiceAway(self.url, str(away) or type(away).__name__) from None
        except httpx.TransportError as broken:
            raise AnswerLost(self.url, str(broken) or type(broken).__name__) from None


def _json_bytes(body: object) -> bytes:
    return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()


def _address(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
        # httpx finds nothing amiss in a port above 65535, and in a bracket that is never closed.
        right = parsed.scheme in {"http", "https"} and urlsplit(url).port != 0
    except (httpx.InvalidURL, ValueError):
        right = False
    if not right or not parsed.host:
        raise AddressInvalid(url)
    return parsed


def _path(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}"


def _object(answer: httpx.Response) -> dict[str, Any] | None:
    try:
        found = answer.json()
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
