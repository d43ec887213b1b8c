"""A client that costs next to nothing: HTTP/1.1 over one kept connection, requests made before.

The client of a bench runs on the machine that it measures. A comfortable one takes as long for a
request as the service does, and half of what is published would be its own time.
"""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

_RECEIVE_BYTES = 1 << 18
_END_OF_HEAD = b"\r\n\r\n"
_TIMEOUT_SECONDS = 120.0


class Refused(RuntimeError):
    """The answer has another status than the bench can measure."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    head: bytes
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - JSON is anything
        return json.loads(self.body)


class Wire:
    """One connection; answers have a Content-Length or come in chunks."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = parts.netloc
        address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._socket = socket.create_connection(address, timeout=_TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._left = b""

    def request(self, method: str, path: str, body: object = None) -> bytes:
        """Make a request, to be sent as often as wanted."""
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\n"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        return head.encode() + b"\r\n" + content

    def ask(self, request: bytes) -> Answer:
        """Send a request and read the whole answer.

        Raises:
            Refused: the answer is no success.

        """
        self._socket.sendall(request)
        head = self._until(_END_OF_HEAD).lower()
        status = int(head[9:12])
        if b"\r\ncontent-length:" in head:
            length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
            body = self._exactly(length)
        else:
            body = self._chunks() if b"\r\ntransfer-encoding:" in head else b""
        if not 200 <= status < 300:  # noqa: PLR2004 - HTTP's successes
            raise Refused(f"{status}: {body[:500]!r} to {request[:100]!r}")
        return Answer(status, head, body)

    def get(self, path: str) -> Any:  # noqa: ANN401 - JSON is anything
        return self.ask(self.request("GET", path)).json()

    def post(self, path: str, body: object) -> Any:  # noqa: ANN401 - JSON is anything
        return self.ask(self.request("POST", path, body)).json()

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self._until(b"\r\n").partition(b";")[0], 16):
            parts.append(self._exactly(size))
            self._exactly(2)
        self._exactly(2)
        return b"".join(parts)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._left:
            self._more()
        found, _, self._left = self._left.partition(mark)
        return found

    def _exactly(self, count: int) -> bytes:
        while len(self._left) < count:
            self._more()
        found, self._left = self._left[:count], self._left[count:]
        return found

    def _more(self) -> None:
        received = self._socket.recv(_RECEIVE_BYTES)
        if not received:
            raise ConnectionError("the server has closed the connection")
        self._left += received


@dataclass(frozen=True, slots=True)
class Load:
    """What clients saw: the seconds of each request, their answers, and the time of all."""

    seconds: list[float]
    answers: list[Answer]
    wall_seconds: float

    @property
    def rate(self) -> float:
        return len(self.seconds) / self.wall_seconds


def hammer(
    url: str, clients: int, requests: int, make: Callable[[Wire], bytes], *, warm_up: int = 1
) -> Load:
    """Let so many clients, a connection each, send one request so often, all of them at once.

    Raises:
        Refused: an answer was no success.

    """
    start = threading.Barrier(clients + 1)
    loads: list[tuple[list[float], list[Answer]]] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with Wire(url) as wire:
                request = make(wire)
                for _ in range(warm_up):
                    wire.ask(request)
                start.wait()
                loads.append(_timed(wire, request, requests))
        except BaseException as error:  # noqa: BLE001 - a thread's edge: raised again below
            failures.append(error)
            start.abort()

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    with contextlib.suppress(threading.BrokenBarrierError):
        start.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    wall_seconds = time.perf_counter() - began
    if failures:
        raise failures[0]
    seconds = [each for taken, _ in loads for each in taken]
    return Load(seconds, [each for _, answers in loads for each in answers], wall_seconds)


def _timed(wire: Wire, request: bytes, count: int) -> tuple[list[float], list[Answer]]:
    seconds, answers = [], []
    for _ in range(count):
        began = time.perf_counter()
        answers.append(wire.ask(request))
        seconds.append(time.perf_counter() - began)
    return seconds, answers


def all_seconds(loads: Sequence[Load]) -> list[float]:
    return [each for load in loads for each in load.seconds]
