"""What simulated supervisors flush is in the book, and where something is not, that is seen."""

import pytest
from sqlalchemy import Engine, delete

from benchmarks.books import id_of, make_owner
from benchmarks.fleet import Load, Training
from benchmarks.fleet_runs import missing_in
from models.tables import epochs, iterations, layer_readings
from services.database import transaction
from services.recording import flush

LAYERS = 3
FLUSHES = 10


@pytest.fixture
def training(engine: Engine) -> Training:
    owner = make_owner(engine)
    training = Training(owner, id_of(engine, owner), Load(800.0, LAYERS), began=0.0)
    for _ in range(FLUSHES):
        now = training.due
        page, _ = training.take(now)
        with transaction(engine) as connection:
            flush(connection, owner, page)
        training.flushed(now)
    return training


def test_nothing_is_missing_of_what_was_flushed(engine: Engine, training: Training) -> None:
    assert training.rows == FLUSHES * 200
    assert missing_in(engine, {training.owner.job_key: training.rows}, LAYERS) == 0


@pytest.mark.parametrize(
    "of",
    [
        iterations.c.iteration == 1,
        iterations.c.iteration == 777,
        iterations.c.iteration == FLUSHES * 200,
        epochs.c.epoch == 2,
        layer_readings.c.position == 1,
    ],
    ids=["first row", "row", "last row", "epoch", "readings"],
)
def test_what_is_missing_is_seen(engine: Engine, training: Training, of: object) -> None:
    column = of.left  # type: ignore[attr-defined]
    with transaction(engine) as connection:
        gone = connection.execute(delete(column.table).where(of))  # type: ignore[arg-type]
        assert gone.rowcount
    assert missing_in(engine, {training.owner.job_key: training.rows}, LAYERS) > 0
