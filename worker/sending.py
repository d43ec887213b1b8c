"""The sink of a training: what it delivers goes down the pipe to the supervisor."""

import threading
from multiprocessing.connection import Connection
from typing import Any

from models.domain.checkpoints import Resumed
from models.rows import Rows
from worker.wire import Kind, encode, encode_rows


class PipeSink:
    """Sends deliveries in the order given. Blocks while the pipe is full: nothing is dropped.

    Raises (every method):
        BrokenPipeError: the supervisor is gone.

    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def send(self, kind: Kind, body: dict[str, Any]) -> None:
        frame = encode(kind, body)
        with self._lock:
            self._pipe.send_bytes(frame)

    def resumed(self, resumed: Resumed) -> None:
        self.send(Kind.RESUMED, resumed.to_plain())

    def started(self, environment: dict[str, Any]) -> None:
        self.send(Kind.STARTED, environment)

    def rows(self, rows: Rows) -> None:
        with self._lock:
            for frame in encode_rows(rows):
                self._pipe.send_bytes(frame)

    def epoch(self, epoch: dict[str, Any]) -> None:
        self.send(Kind.EPOCH, epoch)

    def layers(self, iteration: int, readings: list[dict[str, Any]]) -> None:
        self.send(Kind.LAYERS, {"iteration": iteration, "readings": readings})

    def phase(self, name: str, epoch: int, batch: int) -> None:
        self.send(Kind.PHASE, {"name": name, "epoch": epoch, "batch": batch})

    def checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.send(Kind.CHECKPOINT, checkpoint)

    def artifact(self, artifact: dict[str, Any]) -> None:
        self.send(Kind.ARTIFACT, artifact)

    def summary(self, summary: dict[str, Any]) -> None:
        self.send(Kind.SUMMARY, summary)

    def warning(self, message: str, data: dict[str, Any]) -> None:
        self.send(Kind.WARNING, {"message": message, "data": data})
