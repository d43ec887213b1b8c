"""Simulated supervisors: they flush the book of a training as a worker does, and train nothing.

A trainer delivers rows after the first iteration that ends DELIVER_SECONDS after the delivery
before it; its supervisor flushes at each delivery, and FLUSH_SECONDS after a flush without one.
What was delivered while a flush was late goes into the next one, as it does in a worker, and each
delivery's time is counted from when it was due: a server that is slow is not asked less.

One thread serves many supervisors through one session, as a pooler would. A commit that has no
answer, a checkpoint and the flush between an epoch's last row and its evaluation are left out.
"""

import heapq
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import SecretStr

from benchmarks.books import BATCHES, epochs_within, make_rows
from foundation.settings import DatabaseSettings, WorkerSettings
from models.domain.lifecycle import Phase
from services.database import make_engine
from services.hints import Notifier, Tell
from services.pages import LayerReading, Page, Record
from services.recording import Owner, flush
from worker.line import Line

READY = b"ready"
# What the worker has; a test holds them equal. Its own are not imported, for torch comes with them.
DELIVER_SECONDS = 0.25
BREATH_SECONDS = 0.05
FLUSH_SECONDS = WorkerSettings().flush_seconds
LAYERS_EVERY = 50


@dataclass(frozen=True, slots=True)
class Load:
    """What every training of a fleet is like.

    Attributes:
        iterations_a_second: of each.
        layers: of its network.

    """

    iterations_a_second: float
    layers: int

    @property
    def rows_a_delivery(self) -> int:
        return math.ceil(DELIVER_SECONDS * self.iterations_a_second)

    @property
    def delivery_seconds(self) -> float:
        return self.rows_a_delivery / self.iterations_a_second

    @property
    def flushes_a_second(self) -> float:
        """Of a supervisor that is never late."""
        waits = FLUSH_SECONDS + BREATH_SECONDS
        heartbeats = math.ceil(round(self.delivery_seconds / waits, 9)) - 1
        return (1 + heartbeats) / self.delivery_seconds


class Flushed(NamedTuple):
    """A flush: when its commit was answered, its rows, and when what is in it was due."""

    done: float
    rows: int
    due: tuple[float, ...]


class Training:
    """A training as its supervisor hears it.

    Args:
        owner: of the job.
        job_id: the job.
        load: what it is like.
        began: when, by the monotonic clock.

    """

    def __init__(self, owner: Owner, job_id: UUID, load: Load, began: float) -> None:
        self.owner, self.job_id = owner, job_id
        self.rows = 0
        self._load, self._began = load, began
        self._deliveries = 0
        self._rested = began
        self._readings = [_reading(layer) for layer in range(load.layers)]

    @property
    def due(self) -> float:
        """When the next flush is."""
        anyway = self._rested + FLUSH_SECONDS
        return max(self._rested, min(self._delivered(self._deliveries + 1), anyway))

    def take(self, now: float) -> tuple[Page, tuple[float, ...]]:
        """Take what has been delivered, as a page; and when each delivery, or a heartbeat, was due.

        Args:
            now: not before `due`.

        """
        anyway = self._rested + FLUSH_SECONDS
        due = []
        while (moment := self._delivered(self._deliveries + 1)) <= now:
            due.append(moment)
            self._deliveries += 1
        count = len(due) * self._load.rows_a_delivery
        page = self._page(count) if count else Page()
        page.running_seconds = now - self._began
        page.new_session = self._rested == self._began
        self.rows += count
        return page, tuple(due) or (anyway,)

    def flushed(self, now: float) -> None:
        self._rested = now + BREATH_SECONDS

    def _delivered(self, number: int) -> float:
        return self._began + number * self._load.delivery_seconds

    def _page(self, count: int) -> Page:
        rows = make_rows(self.rows + 1, count)
        measured = [n for n in rows["iteration"].tolist() if n == 1 or n % LAYERS_EVERY == 0]
        epochs = epochs_within(rows)
        return Page(
            rows=rows,
            epochs=epochs,
            layers=[LayerReading(iteration, self._readings) for iteration in measured],
            layers_every=LAYERS_EVERY,
            summary=_summary(epochs[-1]) if epochs else {},
            phase=Phase.TRAIN,
            epoch=int(rows["epoch"][-1]),
            batch=int(rows["batch"][-1]),
            iterations_per_second=self._load.iterations_a_second,
        )


def _reading(layer: int) -> Record:
    """Of a layer with weights, or, as every other one is, of one without."""
    weights: Any = None if layer % 2 else 0.01 * (layer + 1)
    norms = dict.fromkeys(("grad_norm", "weight_norm", "update_ratio"), weights)
    return {"error_norm": 1.0 / (layer + 1), **norms}


def _summary(epoch: Record) -> dict[str, Any]:
    """Numbers that no epoch before had: they are in indexes."""
    loss, accuracy = 2.3 / epoch["epoch"], 1 - 0.9 / epoch["epoch"]
    return {
        "train_loss": loss,
        "best_loss": loss,
        "train_accuracy": accuracy,
        "test_loss": 1.1 * loss,
        "test_accuracy": 0.9 * accuracy,
    }


def epochs_of(rows: int) -> int:
    """How many epochs a book of so many rows has."""
    return rows // BATCHES


def readings_of(rows: int, layers: int) -> int:
    """How many readings of layers."""
    return layers * (rows // LAYERS_EVERY + 1) if rows else 0


class Orders(NamedTuple):
    """What a process of the fleet is to do.

    Attributes:
        database_url: of the book.
        connections: sessions, and threads.
        load: what every training is like.
        supervisors: its own: owner, job, and where in a delivery's time it begins, 0 to 1.

    """

    database_url: str
    connections: int
    load: Load
    supervisors: Sequence[tuple[Owner, UUID, float]]


class Report(NamedTuple):
    """What a process of the fleet has done: its flushes, and the rows of each job."""

    flushes: list[Flushed]
    rows: dict[int, int]


def work(orders: Orders, pipe: Connection) -> None:
    """Be a process of the fleet: says READY, is told when to begin and to end, and reports."""
    settings = DatabaseSettings(
        url=SecretStr(orders.database_url), pool_size=orders.connections + 1
    )
    engine = make_engine(settings, application_name="fleet")
    notifier = Notifier(engine)
    notifier.start()
    lines = [Line(engine) for _ in range(orders.connections)]
    for line in lines:
        with line.transaction():
            pass
    pipe.send(READY)
    began, until = pipe.recv()
    load = orders.load
    trainings = [
        Training(owner, job_id, load, began + place * load.delivery_seconds)
        for owner, job_id, place in orders.supervisors
    ]
    with ThreadPoolExecutor(len(lines)) as pool:
        crews = [
            pool.submit(_serve, line, trainings[n :: len(lines)], notifier.tell, until)
            for n, line in enumerate(lines)
        ]
    flushes = [flushed for crew in crews for flushed in crew.result()]
    notifier.stop()
    for line in lines:
        line.close()
    engine.dispose()
    pipe.send(Report(flushes, {each.owner.job_key: each.rows for each in trainings}))


def _serve(line: Line, trainings: Sequence[Training], tell: Tell, until: float) -> list[Flushed]:
    """Flush whatever is due, the longest due first, up to what was due at the end."""
    queue = [(training.due, n) for n, training in enumerate(trainings)]
    heapq.heapify(queue)
    made: list[Flushed] = []
    while queue and queue[0][0] < until:
        due, n = queue[0]
        time.sleep(max(0.0, due - time.monotonic()))
        training = trainings[n]
        page, moments = training.take(min(max(due, time.monotonic()), until))
        with line.transaction() as connection:
            flush(connection, training.owner, page)
        done = time.monotonic()
        training.flushed(done)
        tell(training.job_id)
        made.append(Flushed(done, 0 if page.rows is None else len(page.rows), moments))
        heapq.heapreplace(queue, (training.due, n))
    return made
