"""Very many viewers of live streams in one process: each a socket, and what it heard and when."""

import re
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

import numpy as np

READY, STOP = b"ready", b"stop"
_RECEIVE_BYTES = 1 << 16
_CONNECT_SECONDS = 60.0
_LOOK_SECONDS = 0.05
# How far a stream has drawn the loss by now.
_DRAWN = re.compile(rb'"type":"points".{0,80}?"to":(\d+)')
_END_OF_EVENT = b"\n\n"


@dataclass(slots=True)
class Heard:
    """What a viewer of the job of that place heard: up to which iteration, and when.

    Moments are of the machine's monotonic clock, which all of its processes share.
    """

    place: int
    moments: list[float] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)

    def seconds_after(self, flushes: Sequence[tuple[float, int]]) -> list[float]:
        """How long after each flush (moment, last iteration) its rows were here."""
        reached = np.searchsorted(self.iterations, [last for _, last in flushes])
        return [
            self.moments[at] - moment
            for (moment, _), at in zip(flushes, reached.tolist(), strict=True)
            if at < len(self.moments)
        ]


class _Viewer:
    def __init__(self, url: str, path: str, place: int) -> None:
        parts = urlsplit(url)
        address = (parts.hostname or "", parts.port or 0)
        self.socket = socket.create_connection(address, timeout=_CONNECT_SECONDS)
        self.socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Accept: text/event-stream\r\n\r\n".encode()
        )
        self.socket.setblocking(False)
        self.heard = Heard(place)
        self._left = b""

    def hear(self) -> None:
        """Read what has come.

        Raises:
            ConnectionError: the stream is over.

        """
        received = self.socket.recv(_RECEIVE_BYTES)
        now = time.monotonic()
        if not received:
            raise ConnectionError("a stream has ended")
        whole, _, self._left = (self._left + received).rpartition(_END_OF_EVENT)
        for found in _DRAWN.finditer(whole):
            self.heard.moments.append(now)
            self.heard.iterations.append(int(found[1]))


def watch(url: str, paths: Sequence[str], count: int, pipe: Connection) -> None:
    """Watch the paths, one after the other, with so many viewers.

    Says READY once each of them has drawn something, and what they heard after a STOP.
    """
    selector = selectors.DefaultSelector()
    viewers = [_Viewer(url, paths[n % len(paths)], n % len(paths)) for n in range(count)]
    for viewer in viewers:
        selector.register(viewer.socket, selectors.EVENT_READ, viewer)
    ready = False
    while not pipe.poll():
        for key, _ in selector.select(_LOOK_SECONDS):
            key.data.hear()
        if not ready and all(viewer.heard.moments for viewer in viewers):
            ready = True
            pipe.send(READY)
    pipe.recv()
    pipe.send([viewer.heard for viewer in viewers])
    for viewer in viewers:
        viewer.socket.close()
