"""Owns a lease: starts a trainer, writes down what it does, and sees to its end."""

import time
from dataclasses import replace
from functools import partial

from foundation.logging import get_logger
from foundation.settings import Settings
from models.domain.checkpoints import Resumed
from models.domain.errors import FenceLost
from models.domain.lifecycle import LEFT_OFF, Wish
from services.claims import Claim
from services.endings import Ending
from services.hints import Tell, tell_nobody
from services.pages import Page, cut
from services.recording import Answer, Owner
from worker.child import Orders
from worker.drafting import Pace, draft
from worker.line import Line
from worker.listening import ANSWER_SECONDS, Listener, Why
from worker.losses import BookedLosses
from worker.oom import OomEvidence
from worker.orders import make_orders
from worker.packages import require_offered
from worker.scribe import GraceOver, Scribe
from worker.shutdown import Shutdown
from worker.trainer import Trainer
from worker.training.errors import TrainingError
from worker.verdict import Evidence, judge, refused

log = get_logger("worker")

TRAIN = "worker.training.trainer:train"
PROGRAM = "worker.program.runner:run_program"
FROM_THE_START = Resumed(0, 0, like=True)
MOST_ROWS = 50_000
"""In one flush, which holds its job: what an outage has heaped up is written in several."""
BREATH_SECONDS = 0.05
"""Between two flushes: what comes faster goes into one."""


class Supervisor:
    """Sees one attempt through, in the slot's thread.

    Args:
        claim: the job and the attempt.
        line: the slot's session.
        settings: the worker's.
        shutdown: the worker's.
        tell: called with the job when it has changed; must not block.
        train: where the training function is, "package.module:function".

    """

    def __init__(
        self,
        claim: Claim,
        line: Line,
        settings: Settings,
        shutdown: Shutdown,
        *,
        tell: Tell = tell_nobody,
        train: str = TRAIN,
    ) -> None:
        self._claim = claim
        self._settings = settings
        self._shutdown = shutdown
        self._train = train
        owner = Owner(claim.job_key, claim.attempt, settings.worker.lease_seconds)
        self._line = line
        self._scribe = Scribe(line, owner, shutdown, partial(tell, claim.job_id))
        self._losses = BookedLosses(self._scribe.losses, claim.iteration)
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
            require_offered(self._claim.spec, self._settings.entrypoint_packages)
        except TrainingError as refusal:
            self._refuse(refusal)
            return
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
            self._wait_until_gone(listener)
            self._end(trainer, listener)
        except (FenceLost, GraceOver):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the attempt must end in the book
            listener.end_in(0, Why.BROKEN)
            listener.wait_until_gone()
            self._refuse(error, trainer.exit_code())

    @property
    def _is_program(self) -> bool:
        return "program" in self._claim.spec

    def _orders(self) -> Orders:
        claim = self._claim
        return make_orders(
            self._settings,
            PROGRAM if self._is_program else self._train,
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
            self._write(self._next_page(listener), trainer, listener)
            listener.pause(BREATH_SECONDS)

    def _write(self, page: Page, trainer: Trainer, listener: Listener) -> None:
        if page.resumed is not None:
            self._losses.go_on_at(page.resumed.iteration, lambda: self._live(trainer, listener))
        for piece in cut(page, MOST_ROWS):
            answer = self._scribe.write(piece)
            if piece.rows is not None:
                self._losses.add(piece.rows)
            self._obey(answer, trainer, listener)

    def _live(self, trainer: Trainer, listener: Listener) -> None:
        """Renew the lease, and hear what is wanted."""
        self._obey(self._scribe.write(self._empty_page()), trainer, listener)

    def _wait_until_gone(self, listener: Listener) -> None:
        """A trainer has said its last words; until it has left, the job is still ours."""
        while not listener.gone:
            listener.pause(self._settings.worker.flush_seconds)
            if not listener.gone:
                self._renew()

    def _obey(self, answer: Answer, trainer: Trainer, listener: Listener) -> None:
        if answer.wanted is None or answer.wanted is self._told:
            return
        self._told = answer.wanted
        self._log.info("attempt.told", wanted=str(answer.wanted))
        trainer.tell(answer.wanted)
        if answer.wanted is Wish.CANCEL:
            listener.end_in(ANSWER_SECONDS - answer.wanted_seconds, Why.CANCEL)
        elif answer.wanted is Wish.STOP and self._is_program:
            # It is asked, and can't be made to.
            listener.end_in(self._settings.worker.stop_seconds, Why.STOP)

    def _end(self, trainer: Trainer, listener: Listener) -> None:
        *pages, last_page = cut(self._next_page(listener), MOST_ROWS)
        for page in pages:
            self._write(page, trainer, listener)
        evidence = Evidence(
            last_words=listener.last_words,
            exit_code=trainer.exit_code(),
            ended_for=listener.ended_for,
            wanted=self._told,
            out_of_memory=self._memory.of(trainer.pid),
        )
        self._close_book(last_page, judge(evidence))

    def _refuse(
        self, error: Exception, exit_code: int | None = None, *, started: bool = True
    ) -> None:
        """End the attempt without what it delivered last, which can't be booked."""
        self._log.error("attempt.refused", exc_info=error)
        self._close_book(self._empty_page(), refused(error, exit_code, started=started))

    def _close_book(self, page: Page, ending: Ending) -> None:
        if ending.outcome not in LEFT_OFF or self._told is Wish.CANCEL:
            # It may be the job's end. Read before anything is locked, where it must be read.
            if page.resumed is not None:
                self._losses.go_on_at(page.resumed.iteration, self._renew)
            sha256 = self._losses.sha256(page.rows, self._renew)
            ending = replace(ending, loss_sha256=sha256)
        self._scribe.end(page, ending)
        self._log.info(
            "attempt.ended",
            outcome=str(ending.outcome),
            stop_reason=ending.stop_reason and str(ending.stop_reason),
            seconds=round(time.monotonic() - self._started_at, 3),
        )

    def _renew(self) -> None:
        self._scribe.write(self._empty_page())

    def _empty_page(self) -> Page:
        return Page(running_seconds=self._running_seconds())

    def _next_page(self, listener: Listener) -> Page:
        page = draft(*listener.take(), self._claim.attempt)
        page.running_seconds = self._running_seconds()
        page.keep_checkpoints = int(self._claim.spec["checkpoint"]["keep"])
        page.layers_every = int(self._claim.spec.get("record", {}).get("layers_every", 0))
        if page.resumed == FROM_THE_START and self._claim.iteration == 0:
            # Nothing is there to be taken back.
            page.resumed = None
        if page.rows is not None:
            page.iterations_per_second = self._pace.mark(time.monotonic(), page.rows)
        return page

    def _running_seconds(self) -> float:
        return self._claim.running_seconds + time.monotonic() - self._started_at
