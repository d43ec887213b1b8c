"""A thousand viewers of the event streams of 20 running jobs, served by one API process, then two.

A worker's part is played here: each job is flushed four times a second, as a trainer delivers, and
who watches is told by a notifier. The viewers sit in a process of their own. Timed is from before a
flush begins until its rows have been read from a viewer's socket, for each flush and each viewer.

    .venv/bin/python -m benchmarks.bench_viewers [--quick]
"""

import multiprocessing
import sys
import time
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import Engine

from benchmarks.books import id_of, make_owner, make_rows
from benchmarks.measuring import Line, asked, conclude, middle, milliseconds, percentile
from benchmarks.processes import PROCESSES, named
from benchmarks.service import Server, Service, raise_file_limit, service
from benchmarks.viewers import READY, STOP, Heard, watch
from services.database import transaction
from services.hints import Notifier
from services.pages import Page
from services.recording import Owner, flush

VIEWERS, QUICK_VIEWERS = 1_000, 40
JOBS = 20
ROWS_A_FLUSH = 100
FLUSH_SECONDS = 0.25
SECONDS, QUICK_SECONDS = 30.0, 1.0
READY_SECONDS = 120.0
FILES = 8_192
TAIL_GOAL_SECONDS = 0.250
CPU_GOAL = 0.35
"""Goals of one API process; with two there is none."""


@dataclass(slots=True)
class Job:
    """A job that is worked on: its flushes' moments and last iterations."""

    id: UUID
    owner: Owner
    flushes: list[tuple[float, int]]

    def flush(self, engine: Engine) -> None:
        first = self.flushes[-1][1] + 1 if self.flushes else 1
        rows = make_rows(first, ROWS_A_FLUSH)
        began = time.monotonic()
        with transaction(engine) as connection:
            flush(connection, self.owner, Page(rows=rows))
        self.flushes.append((began, first + ROWS_A_FLUSH - 1))


class Crew:
    """Works on jobs in turn, so that each of them is flushed every FLUSH_SECONDS."""

    def __init__(self, engine: Engine, notifier: Notifier, jobs: list[Job]) -> None:
        self._engine, self._notifier, self._jobs = engine, notifier, jobs
        self._due = time.monotonic()
        self._turn = 0

    def step(self) -> None:
        """Wait until a flush is due, and make it."""
        self._due += FLUSH_SECONDS / len(self._jobs)
        time.sleep(max(0.0, self._due - time.monotonic()))
        job = self._jobs[self._turn % len(self._jobs)]
        self._turn += 1
        job.flush(self._engine)
        self._notifier.tell(job.id)


def measure(running: Service, api: Server, viewers: int, seconds: float) -> list[Line]:
    owners = [make_owner(running.engine) for _ in range(JOBS)]
    jobs = [Job(id_of(running.engine, owner), owner, []) for owner in owners]
    notifier = Notifier(running.engine)
    notifier.start()
    here, there = multiprocessing.Pipe()
    paths = [f"/v1/jobs/{job.id}/events" for job in jobs]
    process = multiprocessing.get_context("spawn").Process(
        target=watch, args=(api.url, paths, viewers, there), daemon=True
    )
    process.start()
    try:
        crew = Crew(running.engine, notifier, jobs)
        deadline = time.monotonic() + READY_SECONDS
        while not here.poll():
            if time.monotonic() > deadline or not process.is_alive():
                raise RuntimeError("the viewers are not served")
            crew.step()
        if here.recv() != READY:
            raise RuntimeError("the viewers are not ready")
        began, cpu = time.monotonic(), api.cpu_seconds()
        while time.monotonic() < began + seconds:
            crew.step()
        ended = time.monotonic()
        cores = (api.cpu_seconds() - cpu) / (ended - began)
        memory = api.memory_bytes()
        # What was flushed last is on its way still.
        for _ in range(2 * JOBS):
            crew.step()
        here.send(STOP)
        heard: list[Heard] = here.recv()
    finally:
        process.kill()
        process.join()
        notifier.stop()
    for job in jobs:
        job.flushes = [each for each in job.flushes if began <= each[0] < ended]
    return _lines(jobs, heard, cores, memory)


def _lines(jobs: list[Job], heard: list[Heard], cores: float, memory: int) -> list[Line]:
    seconds = [
        each for viewer in heard for each in viewer.seconds_after(jobs[viewer.place].flushes)
    ]
    expected = sum(len(jobs[viewer.place].flushes) for viewer in heard)
    tail = percentile(seconds, 0.95)
    made = sum(len(job.flushes) for job in jobs)
    return [
        Line(f"viewers of {len(jobs)} jobs; flushes", f"{len(heard):,}; {made:,}"),
        Line(
            "from flush to receipt",
            f"p50 {milliseconds(middle(seconds))}, p95 {milliseconds(tail)}",
            f"p95 {milliseconds(TAIL_GOAL_SECONDS)}",
            tail <= TAIL_GOAL_SECONDS,
        ),
        Line("CPU of the API", f"{cores:.2f} core", f"at most {CPU_GOAL}", cores <= CPU_GOAL),
        Line("memory of the API", f"{memory / 2**20:.0f} MiB"),
        Line(
            "receipts that are missing",
            f"{expected - len(seconds):,} of {expected:,}",
            "0",
            len(seconds) == expected,
        ),
    ]


def _of(processes: int, line: Line) -> Line:
    """Say of how many processes a line is; the goals are of one."""
    what = f"{named(processes)}: {line.what}"
    return replace(line, what=what) if processes == 1 else Line(what, line.figure)


def main() -> int:
    run = asked(sys.argv)
    raise_file_limit(FILES)
    viewers, seconds = (QUICK_VIEWERS, QUICK_SECONDS) if run.quick else (VIEWERS, SECONDS)
    lines = []
    with service() as running:
        for processes in PROCESSES[:1] if run.quick else PROCESSES:
            with running.api(processes) as api:
                measured = measure(running, api, viewers, seconds)
            lines += [_of(processes, line) for line in measured]
    return conclude("Live viewers", lines, run)


if __name__ == "__main__":
    sys.exit(main())
