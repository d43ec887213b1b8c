"""A client of server-sent events, as the standard has it, with a deadline for each."""

import contextlib
import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

Json = dict[str, Any]

WAIT_SECONDS = 20.0
"""For the next words of a stream; without hints they come after two."""


@dataclass(frozen=True)
class Heard:
    """One event: its type, its data, and the id to go on with behind it."""

    kind: str
    data: Json
    last_id: str


class Stream:
    """An open stream, read by a thread and taken block by block; what it has said is kept.

    Attributes:
        last_id: what a client would send as Last-Event-ID, after what was taken so far.
        comments: how many there were.
        all: the events.

    """

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.last_id = ""
        self.comments = 0
        self.all: list[Heard] = []
        self._blocks: queue.Queue[list[str] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._pump, name="stream")
        self._thread.start()

    def next(self) -> Heard:
        """Wait for the next event; fails where the stream ends instead."""
        heard = self._next()
        assert heard is not None, "the stream has ended"
        return heard

    def until(self, condition: Callable[[Heard], bool]) -> list[Heard]:
        """Wait for an event like that; returns what came until then, it included."""
        heard = [self.next()]
        while not condition(heard[-1]):
            heard.append(self.next())
        return heard

    def until_kind(self, kind: str) -> Heard:
        return self.until(lambda heard: heard.kind == kind)[-1]

    def rest(self) -> list[Heard]:
        """Read to the stream's end."""
        return list(iter(self._next, None))

    def wait_for_id(self, but: str = "") -> None:
        """Wait until the stream says that it is further than this, with or without an event."""
        while self.last_id in {"", but}:
            assert self._block(WAIT_SECONDS), "the stream has ended"

    def says_nothing_for(self, seconds: float) -> bool:
        """Whether no event comes in that time; comments and ids alone may."""
        deadline, before = time.monotonic() + seconds, len(self.all)
        with contextlib.suppress(queue.Empty):
            while self._block(max(0.0, deadline - time.monotonic())):
                pass
        return len(self.all) == before

    def close(self) -> None:
        connection = self.answer.extensions["network_stream"].get_extra_info("socket")
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _next(self) -> Heard | None:
        # Comments come too, and are no event.
        deadline, before = time.monotonic() + WAIT_SECONDS, len(self.all)
        while len(self.all) == before:
            if not self._block(max(0.0, deadline - time.monotonic())):
                return None
        return self.all[-1]

    def _block(self, seconds: float) -> bool:
        """Take the next block; False at the end.

        Raises:
            queue.Empty: there was none in time.

        """
        lines = self._blocks.get(timeout=seconds)
        if lines is None:
            self._blocks.put(None)
            return False
        self.comments += sum(line.startswith(":") for line in lines)
        fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
        assert len(fields) == sum(not line.startswith(":") for line in lines), lines
        self.last_id = fields.get("id", self.last_id)
        if "data" in fields:
            self.all.append(Heard(fields["event"], json.loads(fields["data"]), self.last_id))
        return True

    def _pump(self) -> None:
        rest = b""
        with contextlib.suppress(httpx.TransportError):
            for chunk in self.answer.iter_raw():
                *blocks, rest = (rest + chunk).split(b"\n\n")
                for block in blocks:
                    self._blocks.put(block.decode().split("\n"))
        self._blocks.put(None)


@contextlib.contextmanager
def stream(api: httpx.Client, path: str, last_id: str = "", **query: str) -> Iterator[Stream]:
    """Open a stream on a connection of its own."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
    with (
        httpx.Client(base_url=api.base_url, timeout=WAIT_SECONDS) as client,
        client.stream("GET", path, params=query, headers=headers) as answer,
    ):
        assert answer.status_code == httpx.codes.OK, answer.read()
        opened = Stream(answer)
        try:
            yield opened
        finally:
            opened.close()
