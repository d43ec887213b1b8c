"""Weights for a job that failed or was cancelled: of its newest good checkpoint.

It comes after the ending, which is committed and stays as it is whatever happens here: nobody who
waits for a cancel waits for files. Whoever ended the job (its attempt, the reaper, the API that
cancels a paused one), some worker finds it. They are made in a child of the forkserver, as a
trainer is.

Given up, for good, is only where every checkpoint is corrupt or gone. Where the worker leaves, the
store does not answer or the child dies, nobody can tell: nothing is written, and somebody looks
again. An older checkpoint is no answer to that: its weights would stand for the newer one's.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import Connection, Engine

from foundation.logging import get_logger
from foundation.settings import Settings
from models.domain.checkpoints import Kept
from services.claims import CPU
from services.deletion import delete_files
from services.filestore import folder_of
from services.salvage import (
    Ended,
    book_salvaged,
    find_kept,
    find_unsalvaged,
    is_gone,
    warn_of_loss,
)
from services.session_locks import Work, held
from worker.child import Orders
from worker.files import remove
from worker.line import OUTAGES, Line
from worker.listening import Listener, Why
from worker.orders import make_orders
from worker.rounds import Round
from worker.shutdown import Shutdown
from worker.trainer import Trainer
from worker.training.errors import CheckpointCorrupt, CheckpointMissing
from worker.wire import Delivery, Kind

log = get_logger("worker")

SALVAGE = "worker.training.salvaging:salvage"
MOST_SECONDS = 60.0
"""For all of it."""
LOOK_SECONDS = 2.0
AGAIN_SECONDS = 60.0
"""A worker that could not tell leaves the job alone for so long."""
PAUSE_SECONDS = 0.5

# By name: what a child says are plain values.
_NO_GOOD = frozenset({CheckpointCorrupt.__name__, CheckpointMissing.__name__})

T = TypeVar("T")
Artifact = dict[str, Any]


class CannotTell(RuntimeError):
    """Whether weights can be made is not known now: another try may."""


class Salvager:
    """Looks for jobs whose files are to be made, and makes them one after the other.

    Args:
        engine: the way to the database.
        settings: the worker's.
        shutdown: the worker's; once begun, nothing more is made.
        clock: seconds that only rise.

    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        shutdown: Shutdown,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._shutdown = shutdown
        self._clock = clock
        self._again_at: dict[int, float] = {}
        self.round = Round("salvager", LOOK_SECONDS, self.look)

    def look(self) -> None:
        now = self._clock()
        self._again_at = {job: at for job, at in self._again_at.items() if at > now}
        # No transaction: a lock of the session is held for as long as files are made.
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for ended in find_unsalvaged(connection, without=tuple(self._again_at)):
                if self._shutdown.begun:
                    return
                with held(connection, Work.SALVAGE, ended.job_key) as mine:
                    if mine:
                        self._salvage(ended)

    def _salvage(self, ended: Ended) -> None:
        line = Line(self._engine)
        try:
            settled = Salvage(ended, line, self._settings, self._shutdown).run()
        finally:
            line.close()
        if not settled:
            self._again_at[ended.job_key] = self._clock() + AGAIN_SECONDS


class Salvage:
    """Makes and books the files of one job that has ended.

    Args:
        ended: the job.
        line: a session of its own.
        settings: the worker's.
        shutdown: the worker's; once begun, the child is ended and nothing is tried again.
        seconds: how long all of it may take.

    """

    def __init__(
        self,
        ended: Ended,
        line: Line,
        settings: Settings,
        shutdown: Shutdown,
        seconds: float = MOST_SECONDS,
    ) -> None:
        self._job = (ended.job_key, ended.attempt)
        self._ended = ended
        self._line = line
        self._settings = settings
        self._shutdown = shutdown
        self._deadline = time.monotonic() + seconds
        # Its own: the attempt's folder is the attempt's, which may be cut off and still train.
        self._folder = f"{folder_of(settings.artifacts_url, ended.job_id)}/salvaged-{uuid4().hex}"
        self._log = log.bind(job_id=str(ended.job_id), attempt=ended.attempt)

    def run(self) -> bool:
        """Do what can be done; raises nothing, so that it ends nobody.

        Returns:
            Whether the job is settled; False: somebody should look again.

        """
        if self._shutdown.begun:
            return False
        try:
            kept = self._ask(lambda connection: find_kept(connection, *self._job))
            if kept:
                self._salvage(kept)
        except CannotTell as why:
            self._log.warning("salvage.put_off", reason=str(why))
            return False
        except Exception:  # noqa: BLE001 - what did not end the job must not end its round
            self._log.exception("salvage.failed")
            return False
        return True

    def _salvage(self, kept: Sequence[Kept]) -> None:
        try:
            made, reason = self._make_of_newest(kept)
        except CannotTell:
            self._forget_files()
            raise
        if not made:
            self._forget_files()
            self._ask(lambda connection: warn_of_loss(connection, *self._job, reason))
        elif self._ask(lambda connection: book_salvaged(connection, *self._job, made)):
            self._log.info("salvage.booked", files=[each["name"] for each in made])
        else:
            self._forget_files()

    def _make_of_newest(self, kept: Sequence[Kept]) -> tuple[list[Artifact], str]:
        """Return the files of the newest checkpoint that is good; where none is, none and why.

        Raises:
            CannotTell: of the newest that is not known to be bad.

        """
        reason = ""
        for each in kept:
            made, reason = self._make(each)
            if made:
                return made, ""
            self._log.warning("salvage.checkpoint_bad", iteration=each.iteration, reason=reason)
        return [], reason

    def _make(self, kept: Kept) -> tuple[list[Artifact], str]:
        trainer = Trainer(self._orders_for(kept))
        listener = Listener(trainer, self._shutdown, MOST_SECONDS)
        listener.start()
        listener.end_in(self._deadline - time.monotonic(), Why.STALLED)
        while not listener.gone:
            listener.pause(PAUSE_SECONDS)
            if self._shutdown.begun:
                # It has nothing to save.
                listener.end_in(0, Why.SHUTDOWN)
        trainer.close()
        if listener.last_words is None:
            why = listener.ended_for.value if listener.ended_for else "died"
            raise CannotTell(f"the process left without a word ({why})")
        deliveries, _ = listener.take()
        return _understand(listener.last_words, deliveries)

    def _orders_for(self, kept: Kept) -> Orders:
        ended = self._ended
        orders = make_orders(
            self._settings, SALVAGE, ended, device=CPU, threads=1, checkpoints=(kept,)
        )
        return replace(orders, request=replace(orders.request, artifacts_url=self._folder))

    def _forget_files(self) -> None:
        """Remove what is certainly not booked."""
        remove(self._folder, recursive=True)
        job_key, _ = self._job
        if self._ask(lambda connection: is_gone(connection, job_key)):
            # The folder too: the deletion went through it before the child wrote into it.
            delete_files(self._settings.artifacts_url, self._ended.job_id)

    def _ask(self, work: Callable[[Connection], T]) -> T:
        """Work in a transaction; where the database is away, again.

        A commit whose answer is lost is made twice, and finds that it was made. Where even that
        is not answered any more, the files stay: they may be booked.
        """
        while True:
            try:
                with self._line.transaction() as connection:
                    return work(connection)
            except OUTAGES:
                if self._shutdown.begun or time.monotonic() >= self._deadline:
                    raise
                time.sleep(PAUSE_SECONDS)


def _understand(words: Delivery, deliveries: Sequence[Delivery]) -> tuple[list[Artifact], str]:
    """Return the files that a child has made, or none and what is wrong with its checkpoint.

    Raises:
        CannotTell: something else went wrong.

    """
    if words.kind is Kind.ENDED:
        return [each.body for each in deliveries if each.kind is Kind.ARTIFACT], ""
    error = words.body["error"]
    if error["type"] not in _NO_GOOD:
        raise CannotTell(f"{error['type']}: {error['message']}")
    return [], str(error["message"])
