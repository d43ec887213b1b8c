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
from services.pages import Page
from services.recording import Owner
from services.salvage import (
    Ended,
    book_salvaged,
    find_unsalvaged,
    warn_of_loss,
)
from services.session_locks import Work, held
from tests.bookings import attempts_of, book_job, events_of, job_of
from tests.integration.test_training_leavings import accuracy_alone
from tests.processes import api_process, worker_process
from tests.trainings import SMALL, Book, train_spec
from tests.versions import on_newest_postgres
from tests.waiting import wait_until
from worker import trainer
from worker.forkserver import start_forkserver
from worker.line import Line
from worker.salvage import AGAIN_SECONDS, Salvage, Salvager
from worker.shutdown import Shutdown
from worker.training.errors import Cancelled
from worker.training.files import Store

pytestmark = on_newest_postgres

SOON = 60.0
CANCEL_SECONDS = 2.0
ENDLESS: dict[str, Any] = SMALL | {"epochs": 100_000, "checkpoint": {"every_seconds": 0.1}}
TAKEN_UP = update(jobs).values(state=State.QUEUED, finished_at=None, stop_reason=None)


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
        self.last = Ended(self.key, claimed.job_id, 1, self.claim.spec, self.claim.plan)
        self.salvage = Salvage(self.last, self.line, settings, self.shutdown)
        self.folder = Path(settings.artifacts_url) / str(self.claim.job_id)
        self.ended = job_of(engine, self.key)

    def booked(self) -> dict[str, Any]:
        with transaction(self.engine) as connection:
            rows = connection.execute(select(artifacts.c.name, artifacts.c.uri))
            return {row.name: row.uri for row in rows}

    def spoil(self, *which: int) -> None:
        for at in which:
            Path(self.kept[at]["uri"]).write_bytes(b"a disk's revenge")

    def hide(self, at: int) -> Path:
        """A folder stands in the checkpoint's place: its store has no answer."""
        file = Path(self.kept[at]["uri"])
        aside = file.rename(file.with_suffix(".aside"))
        file.mkdir()
        return aside

    def bring_back(self, aside: Path) -> None:
        file = aside.with_suffix(".pt")
        file.rmdir()
        aside.rename(file)

    def block(self, at: int) -> None:
        """Who reads the checkpoint waits for ever."""
        fifo = Path(self.kept[at]["uri"])
        fifo.unlink()
        os.mkfifo(fifo)

    def made(self) -> list[Path]:
        """What salvages have left, booked or not."""
        return [path for path in self.folder.glob("salvaged-*/**/*") if path.is_file()]

    def warnings(self) -> list[Any]:
        return [event for event in events_of(self.engine, self.key) if event.type == "warning"]

    def assert_undecided(self) -> None:
        """Nothing is written, made or given up: somebody looks again."""
        assert self.booked() == {}
        assert self.made() == []
        assert self.warnings() == []
        assert unsalvaged(self.engine) == [self.key]

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
        with held(another, Work.SALVAGE, wreck.key) as taken:
            assert taken
            salvager.look()
            assert wreck.booked() == {}
        another.commit()
        salvager.look()
        with held(another, Work.SALVAGE, wreck.key) as taken:
            assert taken
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
    assert len(wreck.warnings()) == 1


def test_a_spoiled_checkpoint_gives_way_to_the_one_before(engine: Engine, wreck: Wreck) -> None:
    wreck.spoil(1)
    wreck.salvage.run()
    booked = wreck.booked()
    assert set(booked) == {"weights.safetensors", "network.py"}
    assert sorted(map(str, wreck.made())) == sorted(booked.values())
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
        wait_until(lambda: len(wreck.made()) == 2, SOON, "files of a job that is being deleted")
    thread.join(SOON)
    assert not thread.is_alive()
    assert wreck.booked() == {}
    assert not wreck.folder.exists()
    delete_files(settings.artifacts_url, wreck.claim.job_id)


def test_a_job_that_is_taken_up_again_meanwhile_is_left_alone(engine: Engine, wreck: Wreck) -> None:
    thread = threading.Thread(target=wreck.salvage.run)
    with transaction(engine) as connection:
        connection.execute(TAKEN_UP)
        thread.start()
        wait_until(
            lambda: len(wreck.made()) == 2, SOON, "files of a job that is being taken up again"
        )
    thread.join(SOON)
    assert wreck.booked() == {}
    assert not list(wreck.folder.rglob("*.*"))
    assert not list(wreck.folder.glob("salvaged-*"))
    assert wreck.warnings() == []


def test_an_attempt_that_was_cut_off_changes_nothing_that_a_salvage_has_booked(
    wreck: Wreck, settings: Settings, engine: Engine
) -> None:
    """Its trainer comes to its end after the job's: it knows of nothing, and writes its files."""
    assert wreck.salvage.run()
    late = Store(f"{settings.artifacts_url}/{wreck.claim.job_id}", wreck.claim.attempt)
    for name in wreck.booked():
        late.write(name, b"the end of a training that the book does not know")
    with transaction(engine) as connection:
        rows = connection.execute(select(artifacts)).all()
    assert len(rows) == 2
    for row in rows:
        assert hashlib.sha256(Path(row.uri).read_bytes()).hexdigest() == row.sha256


def test_a_checkpoint_that_is_gone_gives_way_too(wreck: Wreck) -> None:
    Path(wreck.kept[1]["uri"]).unlink()
    assert wreck.salvage.run()
    assert set(wreck.booked()) == {"weights.safetensors", "network.py"}


def test_a_store_that_does_not_answer_is_asked_again_after_a_minute(
    engine: Engine, settings: Settings, wreck: Wreck
) -> None:
    """Not at once, and the checkpoint before it is no answer."""
    aside, now = wreck.hide(1), [1000.0]
    salvager = Salvager(engine, settings, wreck.shutdown, lambda: now[0])
    salvager.look()
    wreck.assert_undecided()
    wreck.bring_back(aside)
    now[0] += AGAIN_SECONDS - 1
    salvager.look()
    wreck.assert_undecided()
    now[0] += 1
    salvager.look()
    assert set(wreck.booked()) == {"weights.safetensors", "network.py"}
    assert wreck.warnings() == []


def test_one_bad_checkpoint_and_one_that_nobody_can_read_now_are_no_loss(wreck: Wreck) -> None:
    wreck.spoil(1)
    wreck.hide(0)
    assert not wreck.salvage.run()
    wreck.assert_undecided()


def test_a_child_that_is_killed_says_nothing_of_its_checkpoint(wreck: Wreck) -> None:
    wreck.block(1)
    settled: list[bool] = []
    thread = threading.Thread(target=lambda: settled.append(wreck.salvage.run()))
    thread.start()
    os.kill(wait_until(child_pid, SOON, "a child"), signal.SIGKILL)
    thread.join(SOON)
    assert settled == [False]
    wreck.assert_undecided()


def child_pid() -> int | None:
    return next((each.pid for each in tuple(trainer._living)), None)


def test_a_salvage_that_takes_too_long_is_put_off(wreck: Wreck, settings: Settings) -> None:
    wreck.block(1)
    assert not Salvage(wreck.last, wreck.line, settings, wreck.shutdown, 0.5).run()
    wreck.assert_undecided()


def test_a_worker_that_leaves_does_not_wait_for_files(wreck: Wreck) -> None:
    wreck.block(1)
    thread = threading.Thread(target=wreck.salvage.run)
    thread.start()
    wait_until(child_pid, SOON, "a child")
    started = time.monotonic()
    wreck.shutdown.begin()
    thread.join(SOON)
    assert time.monotonic() - started < 5
    wreck.assert_undecided()


def test_a_worker_with_an_old_list_warns_of_no_loss_again(engine: Engine, wreck: Wreck) -> None:
    for _ in range(2):
        with transaction(engine) as connection:
            warn_of_loss(connection, wreck.key, 1, "spoilt")
    assert len(wreck.warnings()) == 1
    assert wreck.salvage.run()
    assert wreck.booked() == {}


def test_where_there_are_weights_nobody_warns_of_their_loss(engine: Engine, wreck: Wreck) -> None:
    assert wreck.salvage.run()
    with transaction(engine) as connection:
        warn_of_loss(connection, wreck.key, 1, "spoilt")
    assert wreck.warnings() == []


def test_of_two_salvages_at_once_one_is_booked_and_the_other_leaves_nothing(
    engine: Engine, wreck: Wreck
) -> None:
    other = [book_entry("weights.safetensors"), book_entry("network.py")]
    thread = threading.Thread(target=wreck.salvage.run)
    with transaction(engine) as connection:
        assert book_salvaged(connection, wreck.key, 1, other)
        thread.start()
        wait_until(lambda: len(wreck.made()) == 2, SOON, "the other one's files")
    thread.join(SOON)
    assert wreck.booked() == {each["name"]: each["uri"] for each in other}
    assert wreck.made() == []


def test_a_booking_whose_answer_was_lost_is_found_booked(engine: Engine, wreck: Wreck) -> None:
    """Even where the job was taken up again meanwhile: its files must not go."""
    mine = [book_entry("weights.safetensors")]
    with transaction(engine) as connection:
        assert book_salvaged(connection, wreck.key, 1, mine)
    with transaction(engine) as connection:
        connection.execute(TAKEN_UP)
    with transaction(engine) as connection:
        assert book_salvaged(connection, wreck.key, 1, mine)


def book_entry(name: str) -> dict[str, Any]:
    """An artifact of a salvage in another worker."""
    uri = f"/elsewhere/salvaged-{'0' * 32}/attempt-1/{name}"
    return {"name": name, "kind": "weights", "uri": uri, "sha256": "0" * 64, "bytes": 1}
