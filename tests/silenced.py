"""A way to the broker that forgets its connections, as a firewall does: nobody is told."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

BUFFER_BYTES = 65_536


@dataclass
class Passage:
    """One connection, and whether it is forgotten."""

    ends: tuple[socket.socket, socket.socket]
    silent: threading.Event = field(default_factory=threading.Event)

    def carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(BUFFER_BYTES):
                if not self.silent.is_set():
                    sink.sendall(data)
        # Forgotten means forgotten: that one side goes is not told to the other one either.
        if not self.silent.is_set():
            self.close()

    def close(self) -> None:
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@dataclass
class Firewall:
    """Args:
    url: for the client; it leads to the broker through this process.
    """

    url: str
    closed: bool = False
    _passages: list[Passage] = field(default_factory=list)

    def shut(self) -> None:
        """End every connection and let no new one through."""
        self.closed = True
        self.close()

    def open(self) -> None:
        self.closed = False

    def forget(self) -> int:
        """From now on what comes through a connection of today is swallowed; new ones work.

        Returns:
            How many connections there have been.

        """
        for passage in self._passages:
            passage.silent.set()
        return len(self._passages)

    def close(self) -> None:
        for passage in self._passages:
            passage.close()


@contextlib.contextmanager
def firewall(broker_url: str) -> Iterator[Firewall]:
    """Stand between clients and the broker of `broker_url`."""
    broker = urlsplit(broker_url)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        login, at, _ = broker.netloc.rpartition("@")
        here = broker._replace(netloc=f"{login}{at}127.0.0.1:{listener.getsockname()[1]}")
        wall = Firewall(urlunsplit(here))
        target = (str(broker.hostname), int(broker.port or 6379))
        threading.Thread(target=_accept, args=(listener, target, wall), daemon=True).start()
        yield wall
        wall.close()
        # Closing a listener does not wake the thread that waits at it.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, target: tuple[str, int], wall: Firewall) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        if wall.closed:
            client.close()
            continue
        server = socket.create_connection(target)
        passage = Passage((client, server))
        wall._passages.append(passage)
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=passage.carry, args=(source, sink), daemon=True).start()
