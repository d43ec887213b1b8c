"""A run of a simulated fleet against a server: some processes flush, and what that took is read."""

import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import psutil
from sqlalchemy import Engine, func, select

from benchmarks.books import id_of, make_owner
from benchmarks.fleet import READY, Flushed, Load, Orders, Report, epochs_of, readings_of, work
from benchmarks.server_costs import Size, Used, read_sizes, read_used
from benchmarks.service import Service
from foundation.ids import new_id
from models.tables import epochs, iterations, layer_readings
from services.database import transaction
from services.hints import say

WARM_UP_SECONDS = 1.5
START_SECONDS = 60.0
LAG_SECONDS = 0.2
# A session that ends while the server's processes are looked at takes its CPU out of sight.
COOL_DOWN_SECONDS = 1.0
REPORT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """So many supervisors, what each of them supervises, their sessions, and for how long."""

    supervisors: int
    load: Load
    connections: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run came to, between two moments of it.

    Attributes:
        fleet: that ran.
        seconds: between the moments.
        done: flushes that were answered there, in order.
        waits: seconds from due to the commit's answer, of each delivery and heartbeat due there.
        used: by the server.
        fleet_cpu: seconds of CPU of the supervisors.
        busy: the share of the machine's CPU that anything used.
        sizes: by which the tables grew, in the whole run.
        rows_of_jobs: that were flushed, in the whole run.

    """

    fleet: Fleet
    seconds: float
    done: list[Flushed]
    waits: list[float]
    used: Used
    fleet_cpu: float
    busy: float
    sizes: Mapping[str, Size]
    rows_of_jobs: Mapping[int, int]

    @property
    def flushes(self) -> int:
        return len(self.done)

    @property
    def flushes_a_second(self) -> float:
        return self.flushes / self.seconds

    @property
    def rows_a_second(self) -> float:
        return sum(each.rows for each in self.done) / self.seconds

    @property
    def rows_a_flush(self) -> float:
        return self.rows_a_second / self.flushes_a_second

    @property
    def deliveries_a_flush(self) -> float:
        return sum(len(each.due) for each in self.done) / self.flushes

    @property
    def commits_a_second(self) -> float:
        """Of transactions that have written: flushes, and hints."""
        return self.used.transactions / self.seconds

    @property
    def server_seconds(self) -> float:
        """CPU of the server, a flush."""
        return self.used.cpu_seconds / self.flushes

    @property
    def fleet_seconds(self) -> float:
        """CPU of the supervisors, a flush."""
        return self.fleet_cpu / self.flushes

    @property
    def server_cores(self) -> float:
        return self.used.cpu_seconds / self.seconds

    @property
    def fleet_cores(self) -> float:
        return self.fleet_cpu / self.seconds


@dataclass(frozen=True, slots=True)
class _Reading:
    at: float
    used: Used
    fleet_cpu: float
    machine: tuple[float, float]


def simulate(running: Service, fleet: Fleet) -> Measured:
    """Book and claim jobs, let the fleet flush them, and measure it when it has got going."""
    with transaction(running.engine) as connection:
        sizes = read_sizes(connection)
    with _processes(running, fleet) as started:
        pids = [process.pid or 0 for process, _ in started]
        began = time.monotonic() + LAG_SECONDS
        warm = began + WARM_UP_SECONDS
        for _, pipe in started:
            pipe.send((began, warm + fleet.seconds + COOL_DOWN_SECONDS))
        time.sleep(max(0.0, warm - time.monotonic()))
        first = _read(running, pids)
        time.sleep(max(0.0, warm + fleet.seconds - time.monotonic()))
        last = _read(running, pids)
        reports = [_receive(process, pipe) for process, pipe in started]
    with transaction(running.engine) as connection:
        grown = {name: size.since(sizes[name]) for name, size in read_sizes(connection).items()}
    return _measured(fleet, first, last, reports, grown)


def missing_in(engine: Engine, rows_of_jobs: Mapping[int, int], layers: int) -> int:
    """Count what was flushed and the book has not, or what it has too often.

    Args:
        engine: the book.
        rows_of_jobs: that were flushed, of each job.
        layers: of each job's network.

    """
    keys = list(rows_of_jobs)
    with transaction(engine) as connection:
        booked = {
            key: (count, first, last)
            for key, count, first, last in connection.execute(
                select(
                    iterations.c.job_key,
                    func.count(),
                    func.min(iterations.c.iteration),
                    func.max(iterations.c.iteration),
                )
                .where(iterations.c.job_key.in_(keys))
                .group_by(iterations.c.job_key)
            )
        }
        others = [
            connection.execute(
                select(func.count()).select_from(table).where(table.c.job_key.in_(keys))
            ).scalar_one()
            for table in (epochs, layer_readings)
        ]
    wrong = 0
    for key, rows in rows_of_jobs.items():
        count, first, last = booked.get(key, (0, 1, 0))
        # No row is there twice (the primary key), so as many as the last one's number are all.
        wrong += abs(rows - count) + abs(first - 1) + abs(last - rows)
    flushed = rows_of_jobs.values()
    expected = (
        sum(epochs_of(rows) for rows in flushed),
        sum(readings_of(rows, layers) for rows in flushed),
    )
    return wrong + sum(abs(a - b) for a, b in zip(others, expected, strict=True))


def hints(running: Service, sessions: int, seconds: float) -> tuple[float, float]:
    """Say as many hints as so many sessions can.

    Returns:
        Hints a second, and the server's seconds of CPU for each.

    """
    until = time.monotonic() + seconds

    def say_on(_: int) -> int:
        said = 0
        with running.engine.connect() as connection:
            while time.monotonic() < until:
                with connection.begin():
                    say(connection, [new_id()])
                said += 1
        return said

    first = _read(running, [])
    with ThreadPoolExecutor(sessions) as pool:
        said = sum(pool.map(say_on, range(sessions)))
    last = _read(running, [])
    return said / (last.at - first.at), last.used.since(first.used).cpu_seconds / said


Started = tuple[BaseProcess, Connection]


@contextmanager
def _processes(running: Service, fleet: Fleet) -> Iterator[Sequence[Started]]:
    """Start a process a core, each with its share of the fleet, and wait until all are ready."""
    count = min(os.cpu_count() or 1, fleet.connections, fleet.supervisors)
    owners = [make_owner(running.engine) for _ in range(fleet.supervisors)]
    supervisors = [
        (owner, id_of(running.engine, owner), n / len(owners)) for n, owner in enumerate(owners)
    ]
    context = multiprocessing.get_context("spawn")
    started: list[Started] = []
    try:
        for number in range(count):
            here, there = context.Pipe()
            connections = len(range(number, fleet.connections, count))
            orders = Orders(
                running.stack.database_url, connections, fleet.load, supervisors[number::count]
            )
            process: BaseProcess = context.Process(target=work, args=(orders, there), daemon=True)
            process.start()
            there.close()
            started.append((process, here))
        for _, pipe in started:
            if not pipe.poll(START_SECONDS) or pipe.recv() != READY:
                raise RuntimeError("a process of the fleet is not ready")
        yield started
    finally:
        for process, _ in started:
            process.kill()
            process.join()


def _receive(process: BaseProcess, pipe: Connection) -> Report:
    if not pipe.poll(REPORT_SECONDS):
        raise RuntimeError(f"process {process.pid} of the fleet does not come to its end")
    report: Report = pipe.recv()
    return report


def _read(running: Service, pids: Sequence[int]) -> _Reading:
    server = running.stack.postgres
    if server is None or server.pid is None:
        raise RuntimeError("the server must be the stack's own: its processes are measured")
    with transaction(running.engine) as connection:
        used = read_used(connection, server.pid)
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return _Reading(
        time.monotonic(), used, sum(each.user + each.system for each in times), _machine()
    )


def _machine() -> tuple[float, float]:
    """Seconds of all cores since the start: busy, and all of them."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # Guests' time is in user's already.
    total = sum(times[: times._fields.index("idle")]) + idle
    total += sum(getattr(times, name, 0.0) for name in ("irq", "softirq", "steal"))
    return total - idle, total


def _measured(
    fleet: Fleet,
    first: _Reading,
    last: _Reading,
    reports: Sequence[Report],
    sizes: Mapping[str, Size],
) -> Measured:
    flushes = sorted(flushed for report in reports for flushed in report.flushes)
    busy, total = (now - then for now, then in zip(last.machine, first.machine, strict=True))
    return Measured(
        fleet=fleet,
        seconds=last.at - first.at,
        done=[each for each in flushes if first.at <= each.done < last.at],
        waits=[
            each.done - due for each in flushes for due in each.due if first.at <= due < last.at
        ],
        used=last.used.since(first.used),
        fleet_cpu=last.fleet_cpu - first.fleet_cpu,
        busy=busy / total,
        sizes=sizes,
        rows_of_jobs={key: rows for report in reports for key, rows in report.rows.items()},
    )
