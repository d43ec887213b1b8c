"""A way to the API that loses POSTs or their answers, as a broken network does."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

PASSED_ON = ("content-type", "idempotency-key")
PASSED_BACK = ("content-type", "location", "idempotency-replayed", "retry-after")


class Loss(Enum):
    REQUEST = auto()
    """The POST does not reach the API, and its connection breaks."""
    ANSWER = auto()
    """The POST is done, and its connection breaks before the answer."""


@dataclass
class LossyWay:
    """Args:
    url: for the client.
    losses: what becomes of the next POSTs, one after the other; those after them get through.
    keys: the Idempotency-Key of each POST that came, lost ones too.
    """

    url: str
    losses: list[Loss]
    keys: list[str | None] = field(default_factory=list)


@contextmanager
def lossy_way(api: httpx.Client, losses: Sequence[Loss]) -> Iterator[LossyWay]:
    """Stand between a client and the API."""
    way = LossyWay("", list(losses))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._give(api.get(self.path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            way.keys.append(self.headers.get("Idempotency-Key"))
            loss = way.losses.pop(0) if way.losses else None
            self.close_connection = loss is not None
            if loss is Loss.REQUEST:
                return
            sent = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
            answer = api.post(self.path, content=body, headers=sent)
            if loss is None:
                self._give(answer)

        def _give(self, answer: httpx.Response) -> None:
            self.send_response(answer.status_code)
            for name in PASSED_BACK:
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        way.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield way
        finally:
            server.shutdown()
            thread.join()
