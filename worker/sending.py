"""The sink of a training: what it delivers goes down the pipe to the supervisor."""

import os
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from models.domain.checkpoints import Resumed
from models.domain.metrics import MetricKind
from models.rows import Rows
from worker.backlog import MetricBacklog
from worker.wire import MOST_ROWS_A_FRAME, Kind, encode, encode_metrics, encode_rows


class PipeSink:
    """Sends deliveries in the order given. Blocks while the pipe is full: nothing is dropped.

    Metrics go just before the frame that brings their iteration's row, or, told after it, before
    the next one: a metrics' frame is never the last of the pipe (see `Listener.take`).

    Raises (every method):
        BrokenPipeError: the supervisor is gone.

    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self._backlog = MetricBacklog()
        self._reached = 0
        self._waited_seconds = 0.0
        self._process = os.getpid()

    def send(self, kind: Kind, body: dict[str, Any]) -> None:
        """Send a frame.

        Raises:
            MetricsBroken: it is the training's success, and a metric waits for its row.

        """
        frame = encode(kind, body)
        with self._lock:
            if kind is Kind.ENDED:
                self._backlog.check_rows_came(self._reached)
            self._send_metrics()
            self._put(frame)

    def resumed(self, resumed: Resumed) -> None:
        self._reached = resumed.iteration
        self.send(Kind.RESUMED, resumed.to_plain())

    def started(self, environment: dict[str, Any]) -> None:
        self.send(Kind.STARTED, environment)

    def rows(self, rows: Rows) -> None:
        with self._lock:
            for number, frame in enumerate(encode_rows(rows), start=1):
                self._reached = int(rows["iteration"][: number * MOST_ROWS_A_FRAME][-1])
                self._send_metrics()
                self._put(frame)

    def metrics(
        self,
        iteration: int,
        values: Mapping[str, float],
        kind: MetricKind = MetricKind.ITERATION,
    ) -> None:
        with self._lock:
            self._backlog.add(iteration, values, kind)

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

    @property
    def waited_seconds(self) -> float:
        return self._waited_seconds

    def _put(self, frame: bytes) -> None:
        if os.getpid() != self._process:
            # Two processes that write into one pipe tear each other's frames.
            raise RuntimeError("a process that was forked off a trainer can't report for it")
        began = time.perf_counter()
        self._pipe.send_bytes(frame)
        self._waited_seconds += time.perf_counter() - began

    def _send_metrics(self) -> None:
        told = self._backlog.take(self._reached)
        if told is not None:
            for frame in encode_metrics(told):
                self._put(frame)
