"""Whatever is told, flushed, lost and told again: each value is there once, and adds up."""

import math
from dataclasses import dataclass, field
from fractions import Fraction

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, func, select

from models.domain.checkpoints import Resumed
from models.domain.metrics import MetricKind
from models.tables import series_rollups
from services.claims import Slot, claim
from services.database import transaction
from services.pages import Page, cut
from services.recording import Owner, flush
from services.rollups import TOP_LEVEL, width_of
from services.series import FIRST_METRIC
from tests.bookings import book_job
from tests.measured import Told, block_of, booked_metrics, booked_values
from tests.pretenders import BATCHES, epoch_of, make_rows

KINDS = {"a": MetricKind.ITERATION, "b/c": MetricKind.ITERATION, "top.5": MetricKind.EPOCH}
MOST_ROWS = 70

numbers = st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0])
told = st.dictionaries(st.sampled_from(["a", "b/c"]), numbers)


def _many(count: int, cycle: list[float]) -> list[dict[str, float]]:
    """Values enough for buckets of several levels."""
    return [
        {"a": cycle[n % len(cycle)] + n} | ({"b/c": n / 7} if n % 3 else {}) for n in range(count)
    ]


deliveries = st.lists(told, max_size=25) | st.builds(
    _many, st.integers(20, 120), st.lists(numbers, min_size=1, max_size=5)
)


@dataclass
class Model:
    """What must be in the book: by name and iteration."""

    reached: int = 0
    epochs: int = 0
    values: dict[str, dict[int, float]] = field(default_factory=dict)

    def tell(self, made: list[Told]) -> None:
        for iteration, values, _ in made:
            for name, value in values.items():
                assert iteration not in self.values.setdefault(name, {})
                self.values[name][iteration] = value

    def go_back(self, iteration: int, epochs: int) -> None:
        self.reached, self.epochs = iteration, epochs
        for name, values in list(self.values.items()):
            of_epochs = KINDS[name] is MetricKind.EPOCH
            last = min(iteration, epochs * BATCHES) if of_epochs else iteration
            self.values[name] = {at: value for at, value in values.items() if at <= last}
            if not self.values[name]:
                del self.values[name]


@settings(
    max_examples=60,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data(), steps=st.integers(1, 8))
def test_values_are_there_once_and_add_up(engine: Engine, data: st.DataObject, steps: int) -> None:
    model = Model()
    with transaction(engine) as connection:
        owner = _owner(connection)
        for _ in range(steps):
            page = Page()
            if data.draw(st.booleans()):
                # At an epoch's end a checkpoint may have been written before or after that.
                at = data.draw(st.integers(0, model.reached))
                epochs = min(model.epochs, data.draw(st.sampled_from(_epochs_at(at))))
                page.resumed = Resumed(at, epochs, like=True)
                model.go_back(at, epochs)
            _deliver(page, model, data.draw(deliveries), data.draw(numbers))
            for piece in cut(page, MOST_ROWS):
                flush(connection, owner, piece)
            _check(connection, owner, model)
            _check_rollups(connection, owner, model)


def _epochs_at(iteration: int) -> list[int]:
    """How many epochs may be booked where so many iterations are."""
    whole = iteration // BATCHES
    return [whole] if iteration % BATCHES or not whole else [whole - 1, whole]


def _deliver(page: Page, model: Model, delivered: list[dict[str, float]], top: float) -> None:
    """Put rows into the page, epochs where they end, and metrics of both."""
    first = model.reached + 1
    made: list[Told] = []
    if model.epochs < model.reached // BATCHES:
        model.epochs += 1
        made.append((model.reached, {"top.5": top}, MetricKind.EPOCH))
        page.epochs.append(epoch_of(model.epochs))
    for iteration, values in enumerate(delivered, start=first):
        made.append((iteration, values, MetricKind.ITERATION))
        if iteration % BATCHES == 0:
            model.epochs = iteration // BATCHES
            made.append((iteration, {"top.5": top}, MetricKind.EPOCH))
            page.epochs.append(epoch_of(model.epochs))
    if delivered:
        page.rows = make_rows(first, len(delivered))
        model.reached += len(delivered)
    page.metrics = block_of(*made)
    model.tell(made)


def _check(connection: Connection, owner: Owner, model: Model) -> None:
    booked = booked_values(connection, owner.job_key)
    expected = {
        name: [(n, at, value) for n, (at, value) in enumerate(sorted(values.items()), start=1)]
        for name, values in model.values.items()
    }
    # By their text: NaN is itself there, and a zero has its sign.
    assert {name: repr(each) for name, each in booked.items()} == {
        name: repr(each) for name, each in expected.items()
    }
    facts = booked_metrics(connection, owner.job_key)
    assert facts.keys() == expected.keys()
    for name, values in expected.items():
        finite = [value for _, _, value in values if math.isfinite(value)]
        row = facts[name]
        assert row["kind"] == KINDS[name]
        assert (row["count"], row["non_finite"]) == (len(values), len(values) - len(finite))
        assert (row["min"], row["max"]) == (min(finite, default=None), max(finite, default=None))
        assert (row["last_iteration"], repr(row["last"])) == (values[-1][1], repr(values[-1][2]))


def _check_rollups(connection: Connection, owner: Owner, model: Model) -> None:
    """Every complete bucket is there, no other, and equals the aggregate of its values."""
    numbers = {
        name: row["number"] for name, row in booked_metrics(connection, owner.job_key).items()
    }
    expected = {}
    for name, values in model.values.items():
        told = sorted(values.items())
        for level in range(1, TOP_LEVEL + 1):
            width = width_of(level)
            for bucket in range(len(told) // width):
                held = told[bucket * width : (bucket + 1) * width]
                key = (FIRST_METRIC + numbers[name], level, bucket)
                expected[key] = (held[0][0], [value for _, value in held])
    found = connection.execute(
        select(series_rollups).where(series_rollups.c.job_key == owner.job_key)
    ).mappings()
    booked = {(row["series"], row["level"], row["bucket"]): row for row in found}
    assert booked.keys() == expected.keys()
    for key, (first, told_values) in expected.items():
        row = booked[key]
        finite = [value for value in told_values if math.isfinite(value)]
        assert (row["first"], row["count"]) == (first, len(told_values))
        assert row["non_finite"] == len(told_values) - len(finite)
        assert (row["min"], row["max"]) == (min(finite, default=None), max(finite, default=None))
        _check_sum(row["sum"], finite)


def _check_sum(booked: float, finite: list[float]) -> None:
    """To 1e-12 of what was added up; a sum that leaves the range of floats is no number."""
    size = sum(map(Fraction, map(abs, finite)))
    if size < Fraction(2) ** 1023:
        assert abs(Fraction(booked) - sum(map(Fraction, finite))) <= size / 10**12


def _owner(connection: Connection) -> Owner:
    key = book_job(connection, queue=str(connection.scalar(func.gen_random_uuid())))
    queue = connection.exec_driver_sql("SELECT queue FROM jobs WHERE key = %s", (key,)).scalar_one()
    claimed = claim(connection, queue, Slot("w", "h", 0, "cpu"), 600.0)
    assert claimed is not None
    return Owner(claimed.job_key, claimed.attempt, 600.0)
