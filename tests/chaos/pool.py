"""The jobs of a run: enough of them at work that every fault finds one to disturb."""

import random
from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import Engine, select

from models.domain.lifecycle import FINISHED
from models.tables import jobs, progress
from tests.chaos.book import Book, ask
from tests.chaos.invariants import Violation
from tests.chaos.service import Json, Service
from tests.chaos.specs import disturbed
from tests.chaos.watcher import Watcher

CHECKPOINT_SECONDS = (0.3, 0.5, 1.0)
MOST = 12
SOON = timedelta(seconds=2)

Print = tuple[object, ...]
"""What of a job that has ended must never change."""


class Pool:
    """Submits jobs and knows which have ended.

    Args:
        service: where to.
        watcher: is told of each job.
        specs: what to choose from.
        chance: chooses.

    """

    def __init__(
        self, service: Service, watcher: Watcher, specs: Mapping[str, Json], chance: random.Random
    ) -> None:
        self.active: list[str] = []
        self._waiting: set[str] = set()
        self._service, self._watcher = service, watcher
        self._specs, self._chance = specs, chance
        self._ended: dict[str, Print] = {}

    @property
    def ids(self) -> list[str]:
        return [*self.active, *self._ended]

    def top_up(self, count: int) -> None:
        """Submit until so many are at work or could be; MOST at once, those included that wait.

        A job whose attempts have failed waits ever longer for its next one.
        """
        while len(self.active) - len(self._waiting) < count and len(self.active) < MOST:
            self.submit()

    def submit(self) -> None:
        spec = self._specs[self._chance.choice(sorted(self._specs))]
        job_id = self._service.submit(disturbed(spec, self._chance.choice(CHECKPOINT_SECONDS)))
        self.active.append(job_id)
        self._watcher.watch(job_id)

    def retry(self, job_id: str) -> None:
        """Take a job up again that was cancelled."""
        self._watcher.expect_change(job_id)
        self._service.act(job_id, "retry")

    def note(self, book: Book) -> None:
        """A job that was found in order; where it has ended it must stay like that."""
        self._waiting.discard(str(book.job.id))
        if book.job.not_before is not None and book.job.not_before > book.now + SOON:
            self._waiting.add(str(book.job.id))
        if book.job.state in FINISHED:
            job_id = str(book.job.id)
            self.active.remove(job_id)
            self._ended[job_id] = _print_of(book)

    def changed(self, engine: Engine) -> list[Violation]:
        """Jobs that have changed since they were found ended and in order."""
        prints = (
            select(jobs.c.id, *_PRINT)
            .join(progress, progress.c.job_key == jobs.c.key)
            .where(jobs.c.id.in_(list(self._ended)))
        )
        rows = ask(engine, lambda connection: connection.execute(prints).all())
        now = {str(row.id): tuple(row)[1:] for row in rows}
        return [
            Violation(job_id, f"it had ended as {ended}, and is {now.get(job_id)}")
            for job_id, ended in self._ended.items()
            if now.get(job_id) != ended
        ]


_PRINT = (
    jobs.c.state,
    jobs.c.finished_at,
    jobs.c.attempts_made,
    jobs.c.loss_sha256,
    jobs.c.weights_sha256,
    progress.c.iteration,
    progress.c.rows,
    progress.c.rewinds,
)


def _print_of(book: Book) -> Print:
    found = {**book.job._mapping, **book.progress._mapping}
    return tuple(found[column.name] for column in _PRINT)
