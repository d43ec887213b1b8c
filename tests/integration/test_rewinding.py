"""Going back: what is left of the book is what was there at that iteration."""

import math

import pytest
from sqlalchemy import Engine, func, select

from models.domain.checkpoints import Resumed
from models.domain.errors import FenceLost
from models.tables import artifacts, checkpoints, epochs, layer_readings
from services.claims import Slot, claim
from services.database import transaction
from services.pages import Page
from services.recording import Owner
from services.rewinding import rewind
from tests.bookings import attempts_of, book_job, events_of, job_of
from tests.integration.owned import LEASE_SECONDS, bits_of, fill, write
from tests.pretenders import BATCHES, epoch_of, make_rows


@pytest.mark.parametrize("to", [0, 10, 15, 30])
def test_a_rewind_leaves_what_was_there_at_that_iteration(
    engine: Engine, owner: Owner, to: int
) -> None:
    with transaction(engine) as connection:
        fill(connection, owner)
        gone = rewind(connection, owner.job_key, owner.attempt, to, to // BATCHES)
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
    assert job.running_seconds == 3
    with transaction(engine) as connection:
        for table, last in (
            (epochs, epochs.c.last_iteration),
            (layer_readings, layer_readings.c.iteration),
            (checkpoints, checkpoints.c.iteration),
        ):
            found = connection.execute(select(last).select_from(table).order_by(last)).scalars()
            assert list(found) == [10, 20, 30][:whole]
        assert connection.scalar(select(func.count()).select_from(artifacts)) == 0
    assert set(gone) == {"a"} | {f"c{n}" for n in (1, 2, 3) if n * BATCHES > to}
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
        rewind(connection, owner.job_key, owner.attempt, BATCHES, 1)
    assert job_of(engine, owner.job_key).best_loss is None
    more = Page(rows=make_rows(BATCHES + 1, BATCHES), epochs=[epoch_of(2)])
    write(engine, owner, more)
    with transaction(engine) as connection:
        rewind(connection, owner.job_key, owner.attempt, 2 * BATCHES, 2)
    assert job_of(engine, owner.job_key).best_loss == epoch_of(2)["train_loss"]


def test_a_rewind_is_fenced(engine: Engine, owner: Owner) -> None:
    with pytest.raises(FenceLost), transaction(engine) as connection:
        rewind(connection, owner.job_key, owner.attempt + 1, 0, 0)


def go_on(engine: Engine, owner: Owner, resumed: Resumed) -> None:
    write(engine, owner, Page(resumed=resumed))


def test_an_attempt_that_goes_on_where_the_book_ends_takes_nothing_back(
    engine: Engine, owner: Owner
) -> None:
    with transaction(engine) as connection:
        fill(connection, owner)
    go_on(engine, owner, Resumed(3 * BATCHES, 3, like=True))
    job = job_of(engine, owner.job_key)
    assert (job.iteration, job.rewinds, job.reproducible) == (30, 0, True)
    assert "rewound" not in [event.type for event in events_of(engine, owner.job_key)]
    assert attempts_of(engine, owner.job_key)[-1].first_iteration == 31


def test_an_epoch_that_a_checkpoint_does_not_know_of_is_booked_anew(
    engine: Engine, owner: Owner
) -> None:
    """The checkpoint was written at the epoch's last iteration, before it was evaluated."""
    with transaction(engine) as connection:
        fill(connection, owner)
    go_on(engine, owner, Resumed(3 * BATCHES, 2, like=True))
    job = job_of(engine, owner.job_key)
    assert (job.iteration, job.rows, job.rewinds) == (30, 30, 1)
    assert job.train_loss == epoch_of(2)["train_loss"]
    write(engine, owner, Page(epochs=[epoch_of(3)]))


def test_rows_that_follow_a_rewind_come_in_the_same_flush(engine: Engine, owner: Owner) -> None:
    with transaction(engine) as connection:
        fill(connection, owner)
    page = Page(
        resumed=Resumed(15, 1, like=True),
        rows=make_rows(16, 2),
        summary={"best_metric": "m", "best_iteration": 10},
    )
    write(engine, owner, page)
    job = job_of(engine, owner.job_key)
    assert (job.iteration, job.rows, job.rewinds, job.best_iteration) == (17, 17, 1, 10)
    (rewound,) = [event for event in events_of(engine, owner.job_key) if event.type == "rewound"]
    assert (rewound.data, rewound.attempt) == ({"from": 30, "to": 15}, owner.attempt)


def test_machines_that_are_not_alike_cost_a_job_its_reproducibility(
    engine: Engine, owner: Owner
) -> None:
    with transaction(engine) as connection:
        fill(connection, owner)
    go_on(engine, owner, Resumed(15, 1, like=False))
    assert job_of(engine, owner.job_key).reproducible is False
    # Begun anew, all of it is computed on one machine again.
    go_on(engine, owner, Resumed(0, 0, like=True))
    assert job_of(engine, owner.job_key).reproducible is True


def test_a_job_that_never_was_reproducible_does_not_become_so(engine: Engine) -> None:
    with transaction(engine) as connection:
        book_job(connection, deterministic=False)
        claimed = claim(connection, "default", Slot("w", "h", 0, "cpu"), LEASE_SECONDS)
    assert claimed is not None
    go_on(engine, Owner(claimed.job_key, 1, LEASE_SECONDS), Resumed(0, 0, like=True))
    assert job_of(engine, claimed.job_key).reproducible is False


def test_to_go_on_is_fenced(engine: Engine, owner: Owner) -> None:
    other = Owner(owner.job_key, owner.attempt + 1, owner.lease_seconds)
    with pytest.raises(FenceLost):
        go_on(engine, other, Resumed(0, 0, like=True))
