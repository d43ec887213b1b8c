"""Weights for a job that failed or was cancelled: of its newest good checkpoint.

It comes after the ending, which is committed and stays as it is whatever happens here: nobody who
waits for a cancel waits for files. Whoever ended the job (its attempt, the reaper, the API that
cancels a paused one), some worker finds it. They are made in a child of the forkserver, as a
trainer is.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from foundation.logging import get_logger
from foundation.settings import Settings
from models.domain.checkpoints import Kept
from services.claims import CPU
from services.deletion import delete_files
from services.salvage import (
    Ended,
    book_salvaged,
    find_kept,
    find_unsalvaged,
    hold,
    is_gone,
    let_go,
    warn_of_loss,
)
from worker.child import Orders
from worker.files import remove
from worker.line import OUTAGES, Line
from worker.listening import Listener, Why
from worker.orders import make_orders
from worker.rounds import Round
from worker.shutdown import Shutdown
from worker.trainer import Trainer
from worker.wire import Kind

log = get_logger("worker")

SALVAGE = "worker.training.salvaging:salvage"
MOST_SECONDS = 60.0
"""For all of it."""
LOOK_SECONDS = 2.0
PAUSE_SECONDS = 0.5

T = TypeVar("T")
Artifact = dict[str, Any]


class Salvager:
    """Looks for jobs whose files are to be made, and makes them one after the other.

    Args:
        engine: the way to the database.
        settings: the worker's.
        shutdown: the worker's; once begun, nothing more is made.

    """

    def __init__(self, engine: Engine, settings: Settings, shutdown: Shutdown) -> None:
        self._engine = engine
        self._settings = settings
        self._shutdown = shutdown
        self.round = Round("salvager", LOOK_SECONDS, self.look)

    def look(self) -> None:
        # No transaction: a lock of the session is held for as long as files are made.
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for ended in find_unsalvaged(connection):
                if not self._shutdown.begun and hold(connection, ended.job_key):
                    self._salvage(ended)
                    let_go(connection, ended.job_key)

    def _salvage(self, ended: Ended) -> None:
        line = Line(self._engine)
        try:
            Salvage(ended, line, self._settings, self._shutdown).run()
        finally:
            line.close()


class Salvage:
    """Makes and books the files of one job that has ended.

    Args:
        ended: the job.
        line: a session of its own.
        settings: the worker's.
        shutdown: the worker's; once begun, the child is ended and nothing is tried again.

    """

    def __init__(self, ended: Ended, line: Line, settings: Settings, shutdown: Shutdown) -> None:
        self._job = (ended.job_key, ended.attempt)
        self._ended = ended
        self._line = line
        self._settings = settings
        self._shutdown = shutdown
        self._deadline = time.monotonic() + MOST_SECONDS
        self._written: list[Artifact] = []
        self._log = log.bind(job_id=str(ended.job_id), attempt=ended.attempt)

    def run(self) -> None:
        """Do what can be done; raises nothing, so that it ends nobody."""
        if self._shutdown.begun:
            return
        try:
            kept = self._ask(lambda connection: find_kept(connection, *self._job))
            if kept:
                self._salvage(kept)
        except Exception:  # noqa: BLE001 - what did not end the job must not end its round
            self._log.exception("salvage.failed")

    def _salvage(self, kept: Sequence[Kept]) -> None:
        made, reason = self._make_of_newest(kept)
        if made and self._book(made):
            self._log.info("salvage.booked", files=[each["name"] for each in made])
            return
        self._forget_files()
        if not made:
            self._ask(lambda connection: warn_of_loss(connection, *self._job, reason))

    def _book(self, made: Sequence[Artifact]) -> bool:
        return self._ask(lambda connection: book_salvaged(connection, *self._job, made))

    def _make_of_newest(self, kept: Sequence[Kept]) -> tuple[list[Artifact], str]:
        """Return the files of the newest checkpoint that gives them, or none and why."""
        reason = ""
        for each in kept:
            made, reason = self._make(each)
            if made:
                return made, ""
            self._log.warning("salvage.checkpoint_failed", iteration=each.iteration, reason=reason)
            if self._shutdown.begun or time.monotonic() >= self._deadline:
                break
        return [], reason

    def _make(self, kept: Kept) -> tuple[list[Artifact], str]:
        trainer = Trainer(self._orders_for(kept))
        listener = Listener(trainer, self._shutdown, MOST_SECONDS)
        listener.start()
        listener.end_in(self._deadline - time.monotonic(), Why.STALLED)
        listener.wait_until_gone()
        trainer.close()
        deliveries, _ = listener.take()
        made = [each.body for each in deliveries if each.kind is Kind.ARTIFACT]
        self._written += made
        words = listener.last_words
        if words is None:
            why = listener.ended_for.value if listener.ended_for else "died"
            return [], f"the process left without a word ({why})"
        return (made, "") if words.kind is Kind.ENDED else ([], words.body["error"]["message"])

    def _orders_for(self, kept: Kept) -> Orders:
        ended = self._ended
        return make_orders(
            self._settings, SALVAGE, ended, device=CPU, threads=1, checkpoints=(kept,)
        )

    def _forget_files(self) -> None:
        job_key, _ = self._job
        if self._ask(lambda connection: is_gone(connection, job_key)):
            # The folder too: the deletion went through it before the child wrote into it.
            delete_files(self._settings.artifacts_url, self._ended.job_id)
            return
        for each in self._written:
            remove(each["uri"])

    def _ask(self, work: Callable[[Connection], T]) -> T:
        """Work in a transaction; where the database is away, again.

        A commit whose answer is lost is made twice: the same files are booked again, and at
        worst a warning stands there two times.
        """
        while True:
            try:
                with self._line.transaction() as connection:
                    return work(connection)
            except OUTAGES:
                if self._shutdown.begun or time.monotonic() >= self._deadline:
                    raise
                time.sleep(PAUSE_SECONDS)
