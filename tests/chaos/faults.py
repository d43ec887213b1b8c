"""How each fault is done to a running stack."""

import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import psutil
import redis
from sqlalchemy import Row, select

from cli.stack.process import is_gone
from foundation.faults import Moment
from models.domain.lifecycle import FINISHED, State
from models.tables import attempts, jobs, progress
from tests.chaos.book import ask
from tests.chaos.control import Action, Control, Hit
from tests.chaos.deck import Fault, Harm, Strike
from tests.chaos.pool import Pool
from tests.chaos.service import Service
from tests.chaos.stack import WHOLE_SECONDS, ChaosStack
from tests.waiting import wait_until

T = TypeVar("T")

WORKERS = ("worker", "second worker")
HIT_SECONDS = 120.0
"""Until somebody must have come to an armed moment."""
PROVOKE_SECONDS = 3.0
"""Between two attempts to bring somebody there."""
WISH_SECONDS = 60.0
NOT_RETRIED = 0.25


class Faults:
    """Does what the deck says, and takes back what can be: who is stopped goes on.

    Args:
        stack: what is hurt.
        control: arms moments in its processes.
        service: to pause, resume, cancel, retry and stop jobs.
        pool: the jobs.
        chance: chooses victims and lengths.

    """

    def __init__(
        self,
        stack: ChaosStack,
        control: Control,
        service: Service,
        pool: Pool,
        chance: random.Random,
    ) -> None:
        self.done: Counter[str] = Counter()
        self.unheeded: Counter[str] = Counter()
        """Wishes that a job had no occasion to follow: it was over first, or its attempt was."""
        self._stack, self._control = stack, control
        self._service, self._pool, self._chance = service, pool, chance
        self._released: set[Hit] = set()
        self._ways: dict[Harm, Callable[[], None]] = {
            Harm.KILL_TRAINER: self._kill_trainer,
            Harm.STALL_TRAINER: self._stall_trainer,
            Harm.KILL_WORKER: lambda: self._signal(self._any_worker(), signal.SIGKILL),
            Harm.STOP_WORKER: self._stop_worker,
            Harm.TERMINATE_WORKER: lambda: self._signal(self._any_worker(), signal.SIGTERM),
            Harm.KILL_API: lambda: self._signal("API", signal.SIGKILL),
            Harm.TERMINATE_API: lambda: self._signal("API", signal.SIGTERM),
            Harm.KILL_POSTGRES: lambda: self._signal("PostgreSQL", signal.SIGKILL),
            Harm.QUIT_POSTGRES: lambda: self._signal("PostgreSQL", signal.SIGQUIT),
            Harm.KILL_VALKEY: lambda: self._signal("Valkey", signal.SIGKILL),
            Harm.FLUSH_VALKEY: self._flush_valkey,
            Harm.KILL_UP: lambda: self._signal("up", signal.SIGKILL),
            Harm.PAUSE: self._pause,
            Harm.CANCEL: self._cancel,
            Harm.STOP: self._stop,
        }

    def do(self, fault: Fault) -> None:
        """Do it now, or arm it; see `see_through` for what is armed."""
        if isinstance(fault, Strike):
            self._control.arm(fault.moment, fault.action)
        else:
            self._ways[fault]()
        self.done[str(fault)] += 1

    def see_through(self, moments: set[Moment]) -> None:
        """Wait until each armed moment has struck, and let who was stopped there go on."""
        provoked_at = time.monotonic()

        def have_struck() -> bool:
            nonlocal provoked_at
            left = {moment for moment in moments if self._control.is_armed(moment)}
            if left and time.monotonic() - provoked_at >= PROVOKE_SECONDS:
                provoked_at = time.monotonic()
                self._provoke(left)
            return not left

        self._wait(have_struck, HIT_SECONDS, f"somebody comes to {sorted(moments)}")
        self._wait(self._are_dead, HIT_SECONDS, "who was killed is gone")
        wait_until(self._release, HIT_SECONDS, "who was stopped goes on")

    def kill_lone_worker(self) -> float:
        """Kill a worker while all others are well; in how many seconds its jobs were taken."""
        pid = self._pid(self._any_worker())
        theirs = [row for row in self._running() if row.worker.endswith(f":{pid}")]
        died = time.monotonic()
        _send(pid, signal.SIGKILL)
        self.done[str(Harm.KILL_WORKER)] += 1
        self._wait(
            lambda: not self._are_open(theirs), WISH_SECONDS, "a dead worker's jobs are free"
        )
        return time.monotonic() - died

    def _running(self) -> list[Row[Any]]:
        """The open attempts that have a trainer."""
        found = (
            select(attempts, jobs.c.id, progress.c.iteration)
            .join(jobs, jobs.c.key == attempts.c.job_key)
            .join(progress, progress.c.job_key == attempts.c.job_key)
            .where(attempts.c.ended_at.is_(None), attempts.c.pid.is_not(None))
        )
        return ask(self._stack.engine(), lambda connection: list(connection.execute(found)))

    def _are_open(self, known: Sequence[Row[Any]]) -> bool:
        now = {(row.job_key, row.number) for row in self._running()}
        return any((row.job_key, row.number) in now for row in known)

    def _wait(self, condition: Callable[[], T | None], seconds: float, what: str) -> T:
        """Wait for it, and let who was stopped go on meanwhile: it may hang on that."""

        def came_about() -> T | None:
            self._release()
            return condition()

        return wait_until(came_about, seconds, what)

    def _provoke(self, moments: set[Moment]) -> None:
        """Give a worker a reason to come there."""
        if Moment.CLAIM in moments:
            self._pool.submit()
        if Moment.REWIND in moments and not self._waiting_release():
            self._kill_trainer()

    def _waiting_release(self) -> list[Hit]:
        hits = self._control.hits()
        return [hit for hit in hits if hit.action is Action.STOP and hit not in self._released]

    def _are_dead(self) -> bool:
        killed = [hit for hit in self._control.hits() if hit.action is Action.KILL]
        return all(_is_dead(hit) for hit in killed)

    def _release(self) -> bool:
        """Let those go on that were stopped long enough; True once none is left."""
        for hit in self._waiting_release():
            if time.time() >= hit.at + self._past_the_lease(hit.pid):
                self._released.add(hit)
                _send(hit.pid, signal.SIGCONT)
        return not self._waiting_release()

    def _past_the_lease(self, pid: int) -> float:
        """Now the attempt is still there when its worker comes back, now it is replaced."""
        return self._stack.times.lease * random.Random(pid).uniform(1.1, 3.5)  # noqa: S311

    def _signal(self, part: str, number: signal.Signals) -> None:
        """Send a deadly signal, and wait until it has done its work."""
        pid = self._pid(part)
        _send(pid, number)
        self._wait(lambda: self._stack.pid(part) != pid, WHOLE_SECONDS, f"{part} is gone")

    def _pid(self, part: str) -> int:
        return self._wait(lambda: self._stack.pid(part), WHOLE_SECONDS, f"{part} is there")

    def _any_worker(self) -> str:
        return self._chance.choice(WORKERS)

    def _victim(self) -> Row[Any]:
        """A job that is well in its way, where there is one."""
        found = self._wait(self._running, WHOLE_SECONDS, "a trainer runs")
        on_the_way = [row for row in found if row.iteration > 0]
        return self._chance.choice(on_the_way or found)

    def _kill_trainer(self) -> None:
        _send(self._victim().pid, signal.SIGKILL)

    def _stall_trainer(self) -> None:
        victim = self._victim()
        _send(victim.pid, signal.SIGSTOP)
        try:
            self._wait(lambda: not self._are_open([victim]), WISH_SECONDS, "a stall is ended")
        finally:
            _send(victim.pid, signal.SIGCONT)

    def _stop_worker(self) -> None:
        pid = self._pid(self._any_worker())
        _send(pid, signal.SIGSTOP)
        try:
            time.sleep(self._stack.times.lease * self._chance.uniform(1.1, 3.5))
        finally:
            _send(pid, signal.SIGCONT)

    def _flush_valkey(self) -> None:
        def flushed() -> bool:
            with contextlib.suppress(redis.RedisError, OSError):
                url = self._stack.urls()["GRADBOOK_BROKER_URL"]
                with redis.Redis.from_url(url, socket_timeout=2) as broker:
                    return bool(broker.flushall())
            return False

        self._wait(flushed, WHOLE_SECONDS, "the broker is emptied")

    def _pause(self) -> None:
        job_id = str(self._victim().id)
        if self._wish(job_id, "pause", State.PAUSED):
            time.sleep(self._chance.uniform(0, 1))
            self._service.act(job_id, "resume")

    def _cancel(self) -> None:
        job_id = str(self._victim().id)
        if self._wish(job_id, "cancel", State.CANCELLED) and self._chance.random() > NOT_RETRIED:
            time.sleep(self._chance.uniform(0, 1))
            self._pool.retry(job_id)

    def _stop(self) -> None:
        """One whose attempt is lost keeps the wish: it may be a minute until it is heard."""
        self.unheeded["stop"] += not self._service.act(str(self._victim().id), "stop")

    def _wish(self, job_id: str, verb: str, state: State) -> bool:
        """Ask for something; whether the job came to the state that it leads to."""
        if not self._service.act(job_id, verb):
            self.unheeded[verb] += 1
            return False

        def settled() -> bool:
            job = self._service.job(job_id)
            return job["state"] in {state, *FINISHED} or job["wanted"] is None

        self._wait(settled, WISH_SECONDS, f"{verb} of job {job_id} is heard")
        heeded = self._service.state(job_id) == state
        self.unheeded[verb] += not heeded
        return heeded


def _is_dead(hit: Hit) -> bool:
    """Whether the process that was there at that time is gone: its number may come again."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(hit.pid)
        return is_gone(process) or process.create_time() > hit.at
    return True


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
