"""A way to PostgreSQL that loses the answer to a COMMIT, as a broken network does."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import make_url

BUFFER_BYTES = 65_536


@dataclass
class Way:
    """Args:
    url: for the client; it leads to the server through this process.
    lost: how many answers to a COMMIT were lost.
    """

    url: str
    lost: int = 0
    armed: bool = False
    shuts: bool = False
    closed: bool = False
    _connections: list[socket.socket] = field(default_factory=list)

    def lose_the_next_commit(self, *, and_shut: bool = False) -> None:
        """The next COMMIT reaches the server; its answer never comes back.

        Args:
            and_shut: let no new connection through after it.

        """
        self.shuts = and_shut
        self.armed = True

    def shut(self) -> None:
        """Cut every connection and let no new one through."""
        self.closed = True
        self.cut()

    def open(self) -> None:
        self.closed = False

    def cut(self) -> None:
        """Cut every connection at once."""
        while self._connections:
            _close(self._connections.pop())


@contextlib.contextmanager
def severed_way(database_url: str) -> Iterator[Way]:
    """Stand between a client and the server of `database_url`."""
    server = make_url(database_url)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        here = server.set(host="127.0.0.1", port=port).update_query_dict({"sslmode": "disable"})
        way = Way(here.render_as_string(hide_password=False))
        target = (str(server.host), int(server.port or 5432))
        threading.Thread(target=_accept, args=(listener, target, way), daemon=True).start()
        yield way
        way.cut()
        # Closing a listener does not wake the thread that waits at it.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, target: tuple[str, int], way: Way) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        if way.closed:
            _close(client)
            continue
        server = socket.create_connection(target)
        way._connections += [client, server]
        for source, sink, watched in ((client, server, True), (server, client, False)):
            threading.Thread(
                target=_pass_on, args=(source, sink, way if watched else None), daemon=True
            ).start()


def _pass_on(source: socket.socket, sink: socket.socket, way: Way | None) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(BUFFER_BYTES):
            if way is not None and way.armed and b"COMMIT" in data:
                way.armed = False
                way.closed = way.closed or way.shuts
                # The answer must not get through, the COMMIT must.
                with contextlib.suppress(OSError):
                    source.shutdown(socket.SHUT_RDWR)
                sink.sendall(data)
                way.lost += 1
                sink.recv(BUFFER_BYTES, socket.MSG_PEEK)
                break
            sink.sendall(data)
    _close(source)
    _close(sink)


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
