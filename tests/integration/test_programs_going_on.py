"""Programs that are killed, or told to leave off, and go on: nothing is lost, nothing twice."""

import os
import signal
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from foundation.settings import Settings
from models.domain.lifecycle import Wish
from models.tables import checkpoints, epochs
from services.database import transaction
from tests.bookings import attempts_of
from tests.installed import write_package
from tests.integration.supervised import program, with_worker
from tests.measured import booked_values
from tests.waiting import wait_until

pytestmark = pytest.mark.newest_postgres

PROGRAMS = """
import os, time
from pathlib import Path

def saves_around_its_epochs(run, folder):
    run.resume()
    for epoch in range(run.epochs_done, 3):
        for _ in range(epoch * 3 + 3 - run.iterations_done):
            run.iteration(loss=1.0, samples=1)
        while not run.checkpoint_due: time.sleep(0.01)
        run.checkpoint(a=1)
        while not run.checkpoint_due: time.sleep(0.01)
        run.epoch(val_loss=1.0)
        run.checkpoint(a=1)
        if run.attempt == 1 and epoch == 1:
            Path(folder, "saved").touch()
            time.sleep(600)

def judges_first(run, folder):
    run.resume()
    for epoch in range(run.epochs_done, 4):
        if run.iterations_done:
            run.metric("judged", float(epoch))
        run.iteration(loss=1.0, samples=1)
        if run.attempt == 1 and epoch == 2:
            run.epoch()
            Path(folder, "saved").touch()
            time.sleep(600)
        while not run.checkpoint_due: time.sleep(0.01)
        run.epoch()
        run.checkpoint(a=1)

def saves_nothing(run, folder):
    while not run.should_stop:
        run.iteration(loss=1.0, samples=1)
        if run._signal.wanted() is not None: Path(folder, "told").touch()
        time.sleep(0.01)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package of programs stands where trainers find it."""
    write_package(tmp_path / "site", "team_programs", programs=PROGRAMS)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return tmp_path


def test_one_that_saves_before_and_after_its_epoch_goes_on_after_it(
    engine: Engine, settings: Settings, folder: Path
) -> None:
    name, options = "saves_around_its_epochs", {"folder": str(folder)}

    def booked() -> list[tuple[int, str]]:
        with transaction(engine) as connection:
            kept = select(checkpoints.c.iteration, checkpoints.c.uri).order_by("iteration")
            return [(each.iteration, each.uri) for each in connection.execute(kept)]

    with program(engine, settings, name, options=options) as first:
        wait_until((folder / "saved").exists, 30, "its second epoch")
        wait_until(lambda: booked()[-1][1].endswith("6-2.pt"), 10, "its newest checkpoint")
        os.kill(first.pid, signal.SIGKILL)
        assert first.wait().state == "queued"
    kept = booked()
    assert [(iteration, Path(uri).name) for iteration, uri in kept] == [
        (3, "checkpoint-000000000003-1.pt"),
        (6, "checkpoint-000000000006-2.pt"),
    ]
    files = {str(path) for path in Path(kept[0][1]).parent.glob("checkpoint-*")}
    assert files == {uri for _, uri in kept}
    with program(engine, settings, name, options=options, again=first) as second:
        job = second.wait()
    assert (job.state, job.rows, job.error, job.rewinds) == ("succeeded", 9, None, 0)
    assert attempts_of(engine, first.key)[-1].first_iteration == 7
    with transaction(engine) as connection:
        told = connection.execute(
            select(epochs.c.epoch, epochs.c.last_iteration).order_by("epoch")
        ).all()
    assert [tuple(each) for each in told] == [(1, 3), (2, 6), (3, 9)]


def test_a_metric_that_is_told_again_where_it_goes_on_is_booked_once(
    engine: Engine, settings: Settings, folder: Path
) -> None:
    name, options = "judges_first", {"folder": str(folder)}
    with program(engine, settings, name, options=options) as first:
        first.wait_for_rows(3)
        os.kill(first.pid, signal.SIGKILL)
        assert first.wait().state == "queued"
    with transaction(engine) as connection:
        assert [at for _, at, _ in booked_values(connection, first.key)["judged"]] == [1, 2]
    with program(engine, settings, name, options=options, again=first) as second:
        job = second.wait()
    assert (job.state, job.rows, job.error) == ("succeeded", 4, None)
    assert attempts_of(engine, first.key)[-1].first_iteration == 3
    with transaction(engine) as connection:
        values = booked_values(connection, first.key)["judged"]
    assert values == [(1, 1, 1.0), (2, 2, 2.0), (3, 3, 3.0)]


def test_a_stop_is_heard_after_a_pause_that_nothing_came_of(
    engine: Engine, settings: Settings, folder: Path
) -> None:
    short = with_worker(settings, stop_seconds=5.0)
    with program(engine, short, "saves_nothing", options={"folder": str(folder)}) as made:
        made.wait_for_rows(3)
        made.wish(Wish.PAUSE)
        wait_until((folder / "told").exists, 10, "it is told of the pause")
        made.wish(Wish.STOP)
        job = made.wait()
    assert (job.state, job.stop_reason, job.error) == ("succeeded", "stopped", None)


def test_one_whose_worker_leaves_does_not_hear_of_a_stop(
    engine: Engine, settings: Settings, folder: Path
) -> None:
    long = with_worker(settings, grace_seconds=5.0)
    with program(engine, long, "saves_nothing", options={"folder": str(folder)}) as made:
        made.wait_for_rows(3)
        made.shutdown.begin()
        wait_until((folder / "told").exists, 10, "it is told to leave")
        made.wish(Wish.STOP)
        job = made.wait()
    # It never saves, so it was ended; the stop waits for whoever goes on with it.
    assert (job.state, job.wanted) == ("queued", "stop")
