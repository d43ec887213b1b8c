"""An attempt with a real trainer process, seen through in a thread as a slot does."""

import contextlib
import functools
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Row, func, update

from foundation.settings import Settings
from models.domain.lifecycle import Wish
from models.tables import jobs, progress
from services.claims import Slot, claim
from services.database import transaction
from tests.bookings import attempts_of, book_job, job_of
from tests.waiting import wait_until
from worker.forkserver import start_forkserver
from worker.line import Line
from worker.shutdown import Shutdown
from worker.supervisor import Supervisor

SOON = 30.0

# Once a process, before its first trainer: a forkserver that multiprocessing starts by itself has
# nothing of ours in it, and stays.
_prepare_forkserver = functools.cache(start_forkserver)


class Attempt:
    """One attempt, seen through in a thread as a slot does."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        train: str,
        *,
        again: "Attempt | None" = None,
        **spec: object,
    ) -> None:
        _prepare_forkserver()
        self._engine = engine
        self._line = Line(engine)
        self.shutdown = Shutdown(settings.worker.grace_seconds)
        with transaction(engine) as connection:
            # Its pause is over, as far as the next attempt is concerned.
            connection.execute(update(jobs).values(not_before=None))
            self.key: int = again.key if again else book_job(connection, **spec)  # type: ignore[arg-type]
        with self._line.transaction() as connection:
            claimed = claim(connection, "default", Slot("w", "h", 0, "cpu"), 6.0)
        assert claimed is not None
        self.claim = claimed
        settings.datasets_folder.mkdir(parents=True, exist_ok=True)
        supervisor = Supervisor(
            claimed, self._line, settings, self.shutdown, train=f"tests.pretenders:{train}"
        )
        self._thread = threading.Thread(target=supervisor.run)
        self._thread.start()

    @property
    def job(self) -> Row[Any]:
        return job_of(self._engine, self.key)

    @property
    def pid(self) -> int:
        """The trainer's, once it is booked."""

        def booked() -> int | None:
            found: int | None = attempts_of(self._engine, self.key)[-1].pid
            return found

        return wait_until(booked, SOON, "a trainer's pid")

    def wait_for_rows(self, count: int = 1) -> None:
        wait_until(lambda: self.job.rows >= count, SOON, f"{count} rows")

    def wish(self, wish: Wish) -> None:
        with transaction(self._engine) as connection:
            connection.execute(
                update(progress)
                .where(progress.c.job_key == self.key, progress.c.attempt.is_not(None))
                .values(wanted=wish, wanted_at=func.clock_timestamp())
            )

    def wait(self, seconds: float = SOON) -> Row[Any]:
        """Wait for the end of the attempt; returns the job."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the supervisor is still at it"
        self._line.close()
        return self.job


@contextlib.contextmanager
def attempt(
    engine: Engine,
    settings: Settings,
    train: str,
    *,
    again: Attempt | None = None,
    **spec: object,
) -> Iterator[Attempt]:
    made = Attempt(engine, settings, train, again=again, **spec)
    try:
        yield made
    finally:
        made.shutdown.begin()
        made._thread.join(SOON)
        made._line.close()


@contextlib.contextmanager
def program(
    engine: Engine,
    settings: Settings,
    name: str,
    *,
    again: Attempt | None = None,
    options: dict[str, Any] | None = None,
    **more: Any,  # noqa: ANN401 - fields of a spec
) -> Iterator[Attempt]:
    """An attempt at a program of the test's own package, `team_programs`."""
    listed = settings.model_copy(update={"entrypoints": "team_programs"})
    spec = {
        "program": {"entrypoint": f"team_programs.programs:{name}", "options": options or {}},
        "checkpoint": {"every_seconds": 0.1, "keep": 2},
        "seed": 0,
        **more,
    }
    with attempt(engine, listed, "steady", again=again, **spec) as made:
        yield made


def with_worker(settings: Settings, **changes: float) -> Settings:
    return settings.model_copy(update={"worker": settings.worker.model_copy(update=changes)})


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # Killed, and its new parent has not looked at it yet.
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def only_attempt(engine: Engine, key: int) -> Row[Any]:
    (found,) = attempts_of(engine, key)
    return found
