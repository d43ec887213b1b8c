"""Weights of jobs that did not succeed: made of a checkpoint, booked, or left alone."""

import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, insert, select, update

from foundation.settings import Settings
from models.domain.lifecycle import Outcome, State, StopReason, Wish
from models.tables import artifacts, checkpoints, jobs
from services.claims import Claim, Slot, claim
from services.database import transaction
from services.deletion import delete_files, delete_job
from services.endings import Ending, end_attempt
from services.recording import Owner, Page
from services.salvage import Ended, find_unsalvaged, hold, let_go
from tests.bookings import attempts_of, book_job, events_of, job_of
from tests.integration.test_training_leavings import accuracy_alone
from tests.processes import api_process, worker_process
from tests.trainings import SMALL, Book, train_spec
from tests.versions import on_newest_postgres
from tests.waiting import wait_until
from worker.forkserver import start_forkserver
from worker.line import Line
from worker.salvage import Salvage, Salvager
from worker.shutdown import Shutdown
from worker.training.errors import Cancelled

pytestmark = on_newest_postgres

SOON = 60.0
CANCEL_SECONDS = 2.0
ENDLESS: dict[str, Any] = SMALL | {"epochs": 100_000, "checkpoint": {"every_seconds": 0.1}}


@pytest.mark.parametrize("end", ["cancel", "kill"])
def test_a_job_that_did_not_succeed_has_the_weights_of_its_last_checkpoint(
    engine: Engine, settings: Settings, tmp_path: Path, end: str
) -> None:
    with (
        api_process(settings, tmp_path / "api.log") as api,
        worker_process(settings, tmp_path / "worker.log"),
    ):
        path = api.post("/v1/jobs", json=ENDLESS | {"max_attempts": 1}).headers["location"]
        wait_until(lambda: named(api, path, "checkpoint"), SOON, "a checkpoint")
        started = time.monotonic()
        if end == "cancel":
            api.post(f"{path}/cancel")
        else:
            with transaction(engine) as connection:
                key = connection.execute(select(jobs.c.key)).scalar_one()
            os.kill(attempts_of(engine, key)[0].pid, signal.SIGKILL)
        job = wait_until(
            lambda: found if (found := api.get(path).json())["finished_at"] else None, SOON, "end"
        )
        assert time.monotonic() - started < CANCEL_SECONDS
        assert job["state"] == {"cancel": "cancelled", "kill": "failed"}[end]
        (weights,) = wait_until(lambda: named(api, path, "weights.safetensors"), SOON, "weights")
        for name in ("weights.safetensors", "network.py"):
            (tmp_path / name).write_bytes(api.get(f"{path}/artifacts/{name}").content)
    content = (tmp_path / "weights.safetensors").read_bytes()
    assert hashlib.sha256(content).hexdigest() == weights["sha256"]
    assert 0 < accuracy_alone(tmp_path, 8, "weights.safetensors", tmp_path) <= 1


def named(api: httpx.Client, path: str, start: str) -> list[dict[str, Any]]:
    items = api.get(f"{path}/artifacts").json()["items"]
    return [item for item in items if item["name"].startswith(start)]


class Wreck:
    """A cancelled job with two booked checkpoints of a real training."""

    def __init__(self, engine: Engine, settings: Settings, folder: Path) -> None:
        self.engine, self.line = engine, Line(engine)
        self.shutdown = Shutdown(10.0)
        with transaction(engine) as connection:
            self.key = book_job(connection)
            claimed = claim(connection, "default", Slot("w", "h", 0, "cpu"), 60.0)
            assert claimed is not None
            self.claim: Claim = claimed
            self.kept = self._train(folder)
            of = {"job_key": self.key, "attempt": 1}
            connection.execute(insert(checkpoints), [of | each for each in self.kept])
            ending = Ending(Outcome.CANCELLED, StopReason.CANCELLED)
            end_attempt(connection, Owner(self.key, 1, 60.0), Page(), ending)
        ended = Ended(self.key, claimed.job_id, 1, self.claim.spec, self.claim.plan)
        self.salvage = Salvage(ended, self.line, settings, self.shutdown)
        self.folder = Path(settings.artifacts_url) / str(self.claim.job_id)
        self.ended = job_of(engine, self.key)

    def booked(self) -> dict[str, Any]:
        with transaction(self.engine) as connection:
            rows = connection.execute(select(artifacts.c.name, artifacts.c.uri))
            return {row.name: row.uri for row in rows}

    def spoil(self, *which: int) -> None:
        for at in which:
            Path(self.kept[at]["uri"]).write_bytes(b"a disk's revenge")

    @staticmethod
    def _train(folder: Path) -> list[dict[str, Any]]:
        book = Book()

        def cancel(book: Book) -> Wish | None:
            return Wish.CANCEL if len(book.all("checkpoint")) == 2 else None

        with pytest.raises(Cancelled):
            train_spec(ENDLESS, folder, book=book, wish=cancel)
        return book.all("checkpoint")


@pytest.fixture
def wreck(engine: Engine, settings: Settings, tmp_path: Path) -> Iterator[Wreck]:
    assert start_forkserver() >= 0
    made = Wreck(engine, settings, tmp_path / "trained")
    yield made
    made.line.close()


def unsalvaged(engine: Engine) -> list[int]:
    with transaction(engine) as connection:
        return [each.job_key for each in find_unsalvaged(connection)]


def test_whoever_ended_a_job_some_worker_makes_its_files(
    engine: Engine, settings: Settings, wreck: Wreck
) -> None:
    """Ended here by nobody's trainer, as a cancel of a paused job is."""
    assert unsalvaged(engine) == [wreck.key]
    salvager = Salvager(engine, settings, wreck.shutdown)
    with engine.connect() as another:
        assert hold(another, wreck.key)
        salvager.look()
        assert wreck.booked() == {}
        let_go(another, wreck.key)
        another.commit()
        salvager.look()
        assert hold(another, wreck.key)
    assert set(wreck.booked()) == {"weights.safetensors", "network.py"}
    assert unsalvaged(engine) == []


def test_a_job_without_a_good_checkpoint_is_given_up_once(
    engine: Engine, settings: Settings, wreck: Wreck
) -> None:
    wreck.spoil(0, 1)
    salvager = Salvager(engine, settings, wreck.shutdown)
    salvager.look()
    assert unsalvaged(engine) == []
    salvager.look()
    assert [event.type for event in events_of(engine, wreck.key)].count("warning") == 1


def test_a_spoiled_checkpoint_gives_way_to_the_one_before(engine: Engine, wreck: Wreck) -> None:
    wreck.spoil(1)
    wreck.salvage.run()
    booked = wreck.booked()
    assert set(booked) == {"weights.safetensors", "network.py"}
    assert all(Path(uri).is_relative_to(wreck.folder / "attempt-1") for uri in booked.values())
    assert job_of(engine, wreck.key) == wreck.ended
    # Once is enough.
    before = Path(booked["network.py"]).stat().st_mtime_ns
    wreck.salvage.run()
    assert Path(booked["network.py"]).stat().st_mtime_ns == before


def test_where_no_checkpoint_is_good_the_ending_stays_and_an_event_warns(
    engine: Engine, wreck: Wreck
) -> None:
    wreck.spoil(0, 1)
    wreck.salvage.run()
    assert wreck.booked() == {}
    *_, state, warning = events_of(engine, wreck.key)
    assert (state.type, warning.type, warning.attempt) == ("state", "warning", 1)
    assert "sha256" in warning.data["reason"]
    job = job_of(engine, wreck.key)
    assert (job.state, job.finished_at) == (wreck.ended.state, wreck.ended.finished_at)


def test_a_deletion_meanwhile_leaves_neither_rows_nor_files(
    engine: Engine, settings: Settings, wreck: Wreck
) -> None:
    thread = threading.Thread(target=wreck.salvage.run)
    with transaction(engine) as connection:
        delete_job(connection, wreck.claim.job_id)
        thread.start()
        made = wreck.folder / "attempt-1" / "network.py"
        wait_until(made.exists, SOON, "files of a job that is being deleted")
    thread.join(SOON)
    assert not thread.is_alive()
    assert wreck.booked() == {}
    assert not wreck.folder.exists()
    delete_files(settings.artifacts_url, wreck.claim.job_id)


def test_a_job_that_is_taken_up_again_meanwhile_is_left_alone(engine: Engine, wreck: Wreck) -> None:
    thread = threading.Thread(target=wreck.salvage.run)
    again = update(jobs).values(state=State.QUEUED, finished_at=None, stop_reason=None)
    with transaction(engine) as connection:
        connection.execute(again)
        thread.start()
        made = wreck.folder / "attempt-1" / "network.py"
        wait_until(made.exists, SOON, "files of a job that is being taken up again")
    thread.join(SOON)
    assert wreck.booked() == {}
    assert not list(wreck.folder.rglob("*.*"))
    assert [event.type for event in events_of(engine, wreck.key)].count("warning") == 0


def test_a_worker_that_leaves_does_not_wait_for_files(wreck: Wreck) -> None:
    fifo = Path(wreck.kept[1]["uri"])
    fifo.unlink()
    os.mkfifo(fifo)
    thread = threading.Thread(target=wreck.salvage.run)
    thread.start()
    # Opened for writing once the child reads: it waits for bytes that never come.
    with fifo.open("wb"):
        started = time.monotonic()
        wreck.shutdown.begin()
        thread.join(SOON)
        assert time.monotonic() - started < 5
    assert wreck.booked() == {}
