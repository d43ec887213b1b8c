"""Going back: what is left of the book is what was there at that iteration."""

import math

import pytest
from sqlalchemy import Engine, func, select

from models.domain.errors import FenceLost
from models.tables import artifacts, checkpoints, epochs, layer_readings
from services.database import transaction
from services.recording import Owner, Page
from services.rewinding import rewind
from tests.bookings import events_of, job_of
from tests.integration.owned import bits_of, fill, write
from tests.pretenders import BATCHES, epoch_of, make_rows


@pytest.mark.parametrize("to", [0, 10, 15, 30])
def test_a_rewind_leaves_what_was_there_at_that_iteration(
    engine: Engine, owner: Owner, to: int
) -> None:
    with transaction(engine) as connection:
        fill(connection, owner)
        gone = rewind(connection, owner.job_key, owner.attempt, to)
    job = job_of(engine, owner.job_key)
    whole = to // BATCHES
    assert (job.iteration, job.rows, job.rewinds) == (to, to, 1)
    assert len(bits_of(engine, owner.job_key)) == to
    assert job.latest_loss == (1 / to if to else None)
    assert (job.epoch, job.batch) == (
        (0, 0) if to == 0 else ((to - 1) // 10 + 1, (to - 1) % 10 + 1)
    )
    assert job.train_loss == job.best_loss == (epoch_of(whole)["train_loss"] if whole else None)
    assert job.best_metric == ("m" if to == 30 else None)
    assert job.running_seconds == (0 if to == 0 else 3)
    with transaction(engine) as connection:
        for table, last in (
            (epochs, epochs.c.last_iteration),
            (layer_readings, layer_readings.c.iteration),
            (checkpoints, checkpoints.c.iteration),
        ):
            found = connection.execute(select(last).select_from(table).order_by(last)).scalars()
            assert list(found) == [10, 20, 30][:whole]
        assert connection.scalar(select(func.count()).select_from(artifacts)) == (to > 0)
    assert set(gone) == {f"c{n}" for n in (1, 2, 3) if n * BATCHES > to} | (
        {"a"} if to == 0 else set()
    )
    event = events_of(engine, owner.job_key)[-1]
    assert (event.type, event.data) == ("rewound", {"from": 30, "to": to})


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_never_the_best(
    engine: Engine, owner: Owner, bad: float
) -> None:
    page = Page(rows=make_rows(1, BATCHES), epochs=[epoch_of(1) | {"train_loss": bad}])
    write(engine, owner, page)
    assert job_of(engine, owner.job_key).best_loss is None
    with transaction(engine) as connection:
        rewind(connection, owner.job_key, owner.attempt, BATCHES)
    assert job_of(engine, owner.job_key).best_loss is None
    more = Page(rows=make_rows(BATCHES + 1, BATCHES), epochs=[epoch_of(2)])
    write(engine, owner, more)
    with transaction(engine) as connection:
        rewind(connection, owner.job_key, owner.attempt, 2 * BATCHES)
    assert job_of(engine, owner.job_key).best_loss == epoch_of(2)["train_loss"]


def test_a_rewind_is_fenced(engine: Engine, owner: Owner) -> None:
    with pytest.raises(FenceLost), transaction(engine) as connection:
        rewind(connection, owner.job_key, owner.attempt + 1, 0)
