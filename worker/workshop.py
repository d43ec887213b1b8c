"""The slots of a worker: a ticket brings a thread, which takes a free slot and works."""

import threading
from collections.abc import Callable

from sqlalchemy import Engine

from foundation.logging import get_logger
from foundation.settings import Settings
from services.claims import Claim, Slot, claim, more_wait
from services.fleet import Worker
from worker.line import OUTAGES, Line
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
        train: str = TRAIN,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._shutdown = shutdown
        self._pass_on = pass_on
        self._train = train
        self._devices = frozenset(worker.devices)
        self._lock = threading.Lock()
        self._free = [
            Slot(worker.name, worker.host, number, device)
            for number, device in enumerate(worker.devices)
        ]

    @property
    def free(self) -> int:
        """How many slots have no job."""
        return len(self._free)

    def work(self, queue: str) -> None:
        """Take jobs of the queue, one after another, until no free slot finds one that fits."""
        tried: set[int] = set()
        while not self._shutdown.begun and (slot := self._take_slot(tried)) is not None:
            try:
                self._work_on(slot, queue)
            finally:
                tried.add(slot.number)
                with self._lock:
                    self._free.append(slot)

    def _take_slot(self, tried: set[int]) -> Slot | None:
        with self._lock:
            slots = [slot for slot in self._free if slot.number not in tried]
            if not slots:
                return None
            slot = min(slots, key=lambda slot: slot.number)
            self._free.remove(slot)
            return slot

    def _work_on(self, slot: Slot, queue: str) -> None:
        line = Line(self._engine)
        try:
            while not self._shutdown.begun and (job := self._claim(line, slot, queue)):
                Supervisor(job, line, self._settings, self._shutdown, train=self._train).run()
        except OUTAGES as outage:
            # Nothing is claimed: the reconciler sends another ticket when the database is back.
            log.warning("claim.failed", queue=queue, reason=str(outage)[:500])
        finally:
            line.close()

    def _claim(self, line: Line, slot: Slot, queue: str) -> Claim | None:
        with line.transaction() as connection:
            job = claim(connection, queue, slot, self._settings.worker.lease_seconds)
            more = job is not None and more_wait(connection, queue, self._devices)
        if job is not None:
            log.info("job.claimed", job_id=str(job.job_id), attempt=job.attempt, slot=slot.number)
        if more:
            self._pass_on(queue)
        return job
