"""The slots of a worker: a ticket brings a thread, which takes a free slot and works."""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Collection

from sqlalchemy import Engine

from foundation.logging import get_logger
from foundation.settings import Settings
from services.claims import Claim, Slot, claim, more_wait, take_over
from services.fleet import Worker
from services.handover import fits_elsewhere
from services.hints import Tell, tell_nobody
from worker.line import Line, Outage
from worker.scribe import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS
from worker.shutdown import Shutdown
from worker.supervisor import TRAIN, Supervisor

log = get_logger("worker")


class Workshop:
    """What a ticket's thread works with.

    Args:
        settings: the worker's.
        engine: the way to the database, with a connection a slot.
        worker: as it stands in the fleet, with the devices of its slots.
        shutdown: once begun, nothing more is claimed.
        pass_on: called with a queue in which more work waits; must not block.
        hand_over: called with a queue whose ticket only another worker can use; must not block.
        tell: called with a job that has changed; must not block.
        train: where the training function is, "package.module:function".

    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        worker: Worker,
        shutdown: Shutdown,
        *,
        pass_on: Callable[[str], None],
        hand_over: Callable[[str], None],
        tell: Tell = tell_nobody,
        train: str = TRAIN,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._shutdown = shutdown
        self._pass_on = pass_on
        self._hand_over = hand_over
        self._tell = tell
        self._train = train
        self._name = worker.name
        self._devices = frozenset(worker.devices)
        self._packages = frozenset(worker.offers)
        self._lock = threading.Lock()
        self._free = [
            Slot(worker.name, worker.host, number, device, self._packages)
            for number, device in enumerate(worker.devices)
        ]

        self._ticket_at = time.monotonic()

    @property
    def free_devices(self) -> frozenset[str]:
        """The devices of the slots that have no job."""
        with self._lock:
            return frozenset(slot.device for slot in self._free)

    @property
    def packages(self) -> frozenset[str]:
        """Those whose code a job may name here."""
        return self._packages

    @property
    def ticket_at(self) -> float:
        """When the last ticket came, by the monotonic clock; at first, when work could begin."""
        return self._ticket_at

    def work(self, queue: str) -> None:
        """Take jobs of the queue, one after another, until no free slot finds one that fits."""
        self._ticket_at = time.monotonic()
        tried: dict[int, Slot] = {}
        worked = False
        while not self._shutdown.begun and (slot := self._take_slot(tried)) is not None:
            try:
                worked |= self._work_on(slot, queue)
            finally:
                tried[slot.number] = slot
                with self._lock:
                    self._free.append(slot)
        if not worked:
            self._offer(queue, {slot.device for slot in tried.values()})

    def _take_slot(self, tried: Collection[int]) -> Slot | None:
        with self._lock:
            slots = [slot for slot in self._free if slot.number not in tried]
            if not slots:
                return None
            slot = min(slots, key=lambda slot: slot.number)
            self._free.remove(slot)
            return slot

    def _work_on(self, slot: Slot, queue: str) -> bool:
        """Work until nothing fits the slot; tell whether anything did."""
        line, worked = Line(self._engine), False
        try:
            while not self._shutdown.begun and (job := self._claim(line, slot, queue)):
                worked = True
                self._supervisor(job, line).run()
        except Outage as outage:
            # No job is this slot's: the reconciler sends another ticket when the database is back.
            log.warning("claim.failed", queue=queue, reason=str(outage)[:500])
        finally:
            line.close()
        return worked

    def _supervisor(self, job: Claim, line: Line) -> Supervisor:
        return Supervisor(
            job, line, self._settings, self._shutdown, tell=self._tell, train=self._train
        )

    def _offer(self, queue: str, tried: Collection[str]) -> None:
        """Hand the ticket over where it was of no use here and may be of use elsewhere."""
        try:
            with (
                contextlib.closing(Line(self._engine)) as line,
                line.transaction() as connection,
            ):
                wanted = fits_elsewhere(connection, queue, self._name, tried, self._packages)
        except Outage:
            return
        if wanted:
            self._hand_over(queue)

    def _claim(self, line: Line, slot: Slot, queue: str) -> Claim | None:
        """Take the best job that fits the slot; None where nothing does.

        Raises:
            Outage: no job is the slot's.

        """
        job, more = None, False
        try:
            with line.transaction() as connection:
                job = claim(connection, queue, slot, self._settings.worker.lease_seconds)
                more = job is not None and more_wait(
                    connection, queue, self._devices, self._packages
                )
        except Outage as outage:
            # With a claim in hand the commit may have been sent: its fate must be read back.
            if job is None or not self._is_owned(line, slot, job, outage):
                raise
        if job is not None:
            self._tell(job.job_id)
            log.info("job.claimed", job_id=str(job.job_id), attempt=job.attempt, slot=slot.number)
        if more:
            self._pass_on(queue)
        return job

    def _is_owned(self, line: Line, slot: Slot, job: Claim, outage: Outage) -> bool:
        """Ask for the fate of a claim until the database tells, or the grace to leave is over."""
        pause = FIRST_PAUSE_SECONDS
        while not self._shutdown.over:
            log.warning(
                "claim.unanswered",
                job_id=str(job.job_id),
                attempt=job.attempt,
                reason=str(outage)[:500],
            )
            time.sleep(pause * (0.5 + random.random() / 2))  # noqa: S311 - no secret
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            try:
                with line.transaction() as connection:
                    return take_over(connection, job, slot, self._settings.worker.lease_seconds)
            except Outage as again:
                outage = again
        return False
