"""A running job's book, and beside it in plain Python what was flushed into it."""

import contextlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from psycopg.types.json import Jsonb
from sqlalchemy import Engine, text

from models.domain.checkpoints import Resumed
from models.domain.metrics import Metric, MetricKind
from models.metrics import METRIC_DTYPE, MetricValues
from models.rows import Rows
from services.archive import Archives
from services.claims import Slot, claim
from services.curves import Curve, CurveQuery, read_curve
from services.database import transaction
from services.endings import Ending, end_attempt
from services.pages import LayerReading, Page
from services.recording import Owner, flush
from tests.bookings import book_job, id_of
from tests.pretenders import BATCHES, epoch_of, make_rows, reading

LAYERS_EVERY = 3
SERIES = ("loss", "lr", "seconds", "grad_norm")
LAYERS = [
    {"name": "conv1", "kind": "conv", "parameters": 8},
    {"name": "relu1", "kind": "relu", "parameters": 0},
]
METRICS = {"a/each": 1, "b": 7, "rare": 9_001}
"""Each so many iterations there is a value."""
LEASE_SECONDS = 60


@dataclass(frozen=True)
class Summary:
    """Of some values, computed in plain Python in one go."""

    count: int
    non_finite: int
    min: float | None
    max: float | None
    sum: float
    size: float
    """The sum of what they are without their signs: by it a sum's rounding is judged."""

    @classmethod
    def of(cls, values: Iterable[float]) -> "Summary":
        every = list(values)
        finite = [value for value in every if math.isfinite(value)]
        return cls(
            len(every),
            len(every) - len(finite),
            min(finite, default=None),
            max(finite, default=None),
            math.fsum(finite),
            math.fsum(map(abs, finite)),
        )

    def has_sum(self, total: float) -> bool:
        return abs(total - self.sum) <= 1e-12 * self.size


class Lost(Exception):
    """A transaction does not come to its end."""


class KnownBook:
    """A job that this test's own attempt writes for.

    Attributes:
        values: series, iteration, value; not those of metrics, which it tells if it is to.
        norms: of the first layer's gradients, at the iterations that were measured.

    """

    def __init__(self, engine: Engine, seed: int, *, tells: bool = False) -> None:
        self.engine, self._tells = engine, tells
        self._random = np.random.default_rng(seed)
        record = {"layers_every": LAYERS_EVERY, "grad_norm_every": BATCHES}
        with transaction(engine) as connection:
            self.key = book_job(connection, record=record, queue=f"known-{seed}")
            connection.execute(
                text("UPDATE jobs SET plan = plan || :network WHERE key = :key"),
                {"network": Jsonb({"network": {"layers": LAYERS}}), "key": self.key},
            )
            slot = Slot("w", "h", 0, "cpu")
            claimed = claim(connection, f"known-{seed}", slot, LEASE_SECONDS)
        assert claimed is not None
        self._owner = Owner(claimed.job_key, claimed.attempt, LEASE_SECONDS)
        self.values: dict[str, dict[int, float]] = {name: {} for name in SERIES}
        self.norms: dict[int, float] = {}
        self.last = 0
        self.archives = Archives("/nowhere")

    @property
    def id(self) -> UUID:
        return id_of(self.engine, self.key)

    def flush(self, count: int, odd: Sequence[float] = (), *, fails: bool = False) -> None:
        """Write so many rows; a fifth of their numbers are among the odd ones.

        Where it fails the transaction is lost, and the rows are written by the next one.
        """
        rows = self._rows(count, odd)
        measured = [
            each for each in rows["iteration"].tolist() if each == 1 or each % LAYERS_EVERY == 0
        ]
        norms = dict(zip(measured, self._numbers(len(measured), odd).tolist(), strict=True))
        layers = [LayerReading(at, [reading(norm), reading(None)]) for at, norm in norms.items()]
        metrics = self._metrics(rows["iteration"], odd) if self._tells else []
        page = Page(rows=rows, layers=layers, layers_every=LAYERS_EVERY, metrics=metrics)
        if fails:
            self._lose(page)
        self._write(page)
        self.norms |= norms
        for row in rows:
            for name in SERIES:
                if name != "grad_norm" or row["has_grad_norm"]:
                    self.values[name][int(row["iteration"])] = float(row[name])
        self.last += count

    def finish_epochs(self, first: int, last: int) -> None:
        if first <= last:
            self._write(Page(epochs=[epoch_of(number) for number in range(first, last + 1)]))

    def resume(self, at: int) -> None:
        """Go on at an iteration: what came after it is taken back."""
        self._write(Page(resumed=Resumed(at, 0, like=True)))
        for known in (*self.values.values(), self.norms):
            for iteration in [each for each in known if each > at]:
                del known[iteration]
        self.last = at

    def end(self, ending: Ending) -> None:
        with transaction(self.engine) as connection:
            end_attempt(connection, self._owner, Page(), ending)

    def read(self, query: CurveQuery) -> Curve:
        with transaction(self.engine) as connection:
            return read_curve(connection, self.id, query, self.archives)

    def _write(self, page: Page) -> None:
        with transaction(self.engine) as connection:
            flush(connection, self._owner, page)

    def _lose(self, page: Page) -> None:
        with contextlib.suppress(Lost), transaction(self.engine) as connection:
            flush(connection, self._owner, page)
            raise Lost

    def _rows(self, count: int, odd: Sequence[float]) -> Rows:
        rows = make_rows(self.last + 1, count)
        for name in SERIES:
            rows[name] = self._numbers(count, odd)
        rows["has_grad_norm"] = (rows["iteration"] % BATCHES == 0) | (rows["iteration"] == 1)
        return rows

    def _metrics(self, iterations: np.ndarray, odd: Sequence[float]) -> list[MetricValues]:
        """Of every iteration, of each seventh, and of each that is rare."""
        told = [iterations[iterations % every == 0] for every in METRICS.values()]
        values = np.zeros(sum(map(len, told)), METRIC_DTYPE)
        values["metric"] = np.repeat(np.arange(len(told)), [len(each) for each in told])
        values["iteration"] = np.concatenate(told)
        values["value"] = self._numbers(len(values), odd)
        return [MetricValues(tuple(Metric(name, MetricKind.ITERATION) for name in METRICS), values)]

    def _numbers(self, count: int, odd: Sequence[float]) -> np.ndarray:
        numbers = self._random.normal(size=count)
        if odd:
            hit = self._random.random(count) < 0.2
            numbers[hit] = self._random.choice(odd, int(hit.sum()))
        return numbers
