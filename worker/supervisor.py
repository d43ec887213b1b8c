"""Owns a lease: starts a trainer, writes down what it does, and sees to its end."""

import hashlib
import time

from foundation.logging import get_logger
from foundation.settings import Settings
from models.domain.checkpoints import Resumed
from models.domain.errors import FenceLost
from models.domain.lifecycle import Wish
from services.claims import Claim
from services.endings import Ending
from services.recording import Answer, Owner, Page
from worker.child import Orders
from worker.drafting import Pace, draft
from worker.line import Line
from worker.listening import ANSWER_SECONDS, Listener, Why
from worker.oom import OomEvidence
from worker.orders import make_orders
from worker.scribe import GraceOver, Scribe
from worker.shutdown import Shutdown
from worker.trainer import Trainer
from worker.verdict import Evidence, judge, refused

log = get_logger("worker")

TRAIN = "worker.training.trainer:train"
FROM_THE_START = Resumed(0, 0, like=True)
BREATH_SECONDS = 0.05
"""Between two flushes: what comes faster goes into one."""


class Supervisor:
    """Sees one attempt through, in the slot's thread.

    Args:
        claim: the job and the attempt.
        line: the slot's session.
        settings: the worker's.
        shutdown: the worker's.
        train: where the training function is, "package.module:function".

    """

    def __init__(
        self,
        claim: Claim,
        line: Line,
        settings: Settings,
        shutdown: Shutdown,
        *,
        train: str = TRAIN,
    ) -> None:
        self._claim = claim
        self._settings = settings
        self._shutdown = shutdown
        self._train = train
        owner = Owner(claim.job_key, claim.attempt, settings.worker.lease_seconds)
        self._line = line
        self._scribe = Scribe(line, owner, shutdown)
        self._losses = hashlib.sha256()
        self._saw_all_losses = True
        self._pace = Pace()
        self._started_at = time.monotonic()
        self._told: Wish | None = None
        self._log = log.bind(job_id=str(claim.job_id), attempt=claim.attempt)

    def run(self) -> None:
        """From the claim to the end of the attempt; whatever happens to the trainer."""
        try:
            self._start_and_see_through()
        except FenceLost:
            self._log.warning("attempt.fenced_off")
        except GraceOver:
            self._log.warning("attempt.left_behind")

    def _start_and_see_through(self) -> None:
        try:
            orders = self._orders()
            self._memory = OomEvidence()
            trainer = Trainer(orders)
        except Exception as error:  # noqa: BLE001 - no trainer, whatever the reason: book it
            self._refuse(error, started=False)
            return
        listener = Listener(trainer, self._shutdown, self._settings.worker.stall_seconds)
        listener.start()
        try:
            self._see_through(trainer, listener)
        finally:
            listener.end_in(0, Why.FENCE)
            listener.wait_until_gone()
            trainer.close()

    def _see_through(self, trainer: Trainer, listener: Listener) -> None:
        try:
            self._record(trainer, listener)
            listener.wait_until_gone()
            self._end(trainer, listener)
        except (FenceLost, GraceOver):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the attempt must end in the book
            listener.end_in(0, Why.BROKEN)
            listener.wait_until_gone()
            self._refuse(error, trainer.exit_code())

    def _orders(self) -> Orders:
        claim = self._claim
        return make_orders(
            self._settings,
            self._train,
            claim,
            device=claim.device,
            threads=int(claim.spec["threads"]),
            checkpoints=claim.checkpoints,
            seconds_before=claim.running_seconds,
        )

    def _record(self, trainer: Trainer, listener: Listener) -> None:
        """Flush at each delivery and now and then, until the trainer has nothing to add."""
        while True:
            listener.wait(self._settings.worker.flush_seconds)
            if listener.gone or listener.last_words is not None:
                return
            answer = self._scribe.write(self._next_page(listener))
            self._obey(answer, trainer, listener)
            listener.pause(BREATH_SECONDS)

    def _obey(self, answer: Answer, trainer: Trainer, listener: Listener) -> None:
        if answer.wanted is None or answer.wanted is self._told:
            return
        self._told = answer.wanted
        self._log.info("attempt.told", wanted=str(answer.wanted))
        trainer.tell(answer.wanted)
        if answer.wanted is Wish.CANCEL:
            listener.end_in(ANSWER_SECONDS - answer.wanted_seconds, Why.CANCEL)

    def _end(self, trainer: Trainer, listener: Listener) -> None:
        page = self._next_page(listener)
        evidence = Evidence(
            last_words=listener.last_words,
            exit_code=trainer.exit_code(),
            ended_for=listener.ended_for,
            wanted=self._told,
            shutting_down=self._shutdown.begun,
            loss_sha256=self._losses.hexdigest() if self._saw_all_losses else None,
            out_of_memory=self._memory.of(trainer.pid),
        )
        self._close_book(page, judge(evidence))

    def _refuse(
        self, error: Exception, exit_code: int | None = None, *, started: bool = True
    ) -> None:
        """End the attempt without what it delivered last, which can't be booked."""
        self._log.error("attempt.refused", exc_info=error)
        page = Page(running_seconds=self._running_seconds())
        self._close_book(page, refused(error, exit_code, started=started))

    def _close_book(self, page: Page, ending: Ending) -> None:
        self._scribe.end(page, ending)
        self._log.info(
            "attempt.ended",
            outcome=str(ending.outcome),
            stop_reason=ending.stop_reason and str(ending.stop_reason),
            seconds=round(time.monotonic() - self._started_at, 3),
        )

    def _next_page(self, listener: Listener) -> Page:
        page = draft(*listener.take(), self._claim.attempt)
        page.running_seconds = self._running_seconds()
        page.keep_checkpoints = int(self._claim.spec["checkpoint"]["keep"])
        if page.resumed is not None:
            self._saw_all_losses = page.resumed.iteration == 0
            if page.resumed == FROM_THE_START and self._claim.iteration == 0:
                # Nothing is there to be taken back.
                page.resumed = None
        if page.rows is not None:
            self._losses.update(page.rows["loss"].tobytes())
            page.iterations_per_second = self._pace.mark(time.monotonic(), page.rows)
        return page

    def _running_seconds(self) -> float:
        return self._claim.running_seconds + time.monotonic() - self._started_at
