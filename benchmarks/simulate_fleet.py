"""The write path at scale: hundreds of simulated supervisors flush into one PostgreSQL.

Each has a job that it has claimed, and flushes real pages at the pace of a worker: rows, epochs
with their events, layers' readings, heartbeats (benchmarks/fleet.py). A delivery's time runs from
when it was due to the answer to its commit. Some processes play all of them, beside the server, so
CPU is told apart: that of PostgreSQL, and that of the supervisors, which workers elsewhere would
have.

First it measures what a flush and a row cost, by two fleets that flush as often, one of them with
many rows a flush. Then it lets a fleet grow until one delivery in a hundred waits for more than
SLOW_SECONDS, or no CPU is left. At last every row is looked for in the book.

    .venv/bin/python -m benchmarks.simulate_fleet [--quick] [--supervisors 300] [--seconds 8]
        [--iterations-a-second 20] [--database-connections 32]

With `--model` it measures nothing and prints docs/scale.md's tables: benchmarks/scale_model.py.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.fleet import Load
from benchmarks.fleet_runs import Fleet, Measured, hints, missing_in, simulate
from benchmarks.measuring import Line, milliseconds, percentile, publish
from benchmarks.scale_model import tables
from benchmarks.server_costs import Size
from benchmarks.service import Service, service

TITLE = "Simulated fleet"
SUPERVISORS, QUICK_SUPERVISORS = 300, 12
SECONDS, QUICK_SECONDS = 8.0, 2.0
CONNECTIONS, QUICK_CONNECTIONS = 32, 4
# The stack's server takes 200; the bench itself and hints have some.
MOST_CONNECTIONS = 160
ITERATIONS_A_SECOND = 20.0
LAYERS = 12
# Fleets by which the costs are told apart: few rows a flush, as is usual, and many.
# One would be too few: it mostly has no rollup and no reading to write.
COST_SUPERVISORS, QUICK_COST_SUPERVISORS = 40, 8
SPARSE_ITERATIONS_A_SECOND, DENSE_ITERATIONS_A_SECOND = 20.0, 800.0
COST_SESSIONS = 8
TIMES = (1 / 6, 1 / 3, 2 / 3, 1, 1.5, 2, 3, 4, 6, 8)
SLOW_SECONDS = 1.0
FULL = 0.95
HOT_GOAL = 0.95


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for on the command line."""

    quick: bool
    supervisors: int
    seconds: float
    iterations_a_second: float
    connections: int

    def fleet(self, supervisors: int, iterations_a_second: float) -> Fleet:
        load = Load(iterations_a_second, LAYERS)
        return Fleet(supervisors, load, self.connections, self.seconds)


def main() -> int:
    asked = _asked(sys.argv)
    if asked is None:
        print(tables())
        return 0
    runs: list[Measured] = []
    with service() as running:
        lines = [*_costs(running, asked, runs), *_growth(running, asked, runs)]
        missing = _missing(running, runs)
        lines += [_hot(runs), missing]
    code = publish(TITLE, lines, keep=not asked.quick)
    return int(missing.reached is False) if asked.quick else code


def _costs(running: Service, asked: Asked, runs: list[Measured]) -> Iterator[Line]:
    """Measure what a flush costs, and what a row adds to it."""
    count = QUICK_COST_SUPERVISORS if asked.quick else COST_SUPERVISORS
    sparse = simulate(running, asked.fleet(count, SPARSE_ITERATIONS_A_SECOND))
    dense = simulate(running, asked.fleet(count, DENSE_ITERATIONS_A_SECOND))
    runs += [sparse, dense]
    yield Line("rows a flush, few; many", f"{sparse.rows_a_flush:.1f}; {dense.rows_a_flush:.1f}")
    yield _cost("CPU of PostgreSQL", sparse.server_seconds, dense.server_seconds, sparse, dense)
    yield _cost("CPU of the supervisor", sparse.fleet_seconds, dense.fleet_seconds, sparse, dense)
    wal = [each.used.wal_bytes / each.flushes for each in (sparse, dense)]
    yield _cost("WAL", wal[0], wal[1], sparse, dense)
    a_second, each = hints(running, COST_SESSIONS, asked.seconds / 2)
    yield Line(
        f"hints by {COST_SESSIONS} sessions; CPU of PostgreSQL for each",
        f"{a_second:,.0f}/s; {milliseconds(each)}",
    )
    yield Line("full pages in the WAL, a flush", f"{sparse.used.full_pages / sparse.flushes:.2f}")
    for name, size in dense.sizes.items():
        yield _size_line(name, size)
    total = sum(size.heap_bytes + size.index_bytes for size in dense.sizes.values())
    yield Line("database, an iteration", f"{total / dense.sizes['iterations'].rows:.1f} bytes")


def _cost(what: str, few: float, many: float, sparse: Measured, dense: Measured) -> Line:
    """A flush's part and a row's, of what flushes with few and with many rows cost."""
    a_row = (many - few) / (dense.rows_a_flush - sparse.rows_a_flush)
    a_flush = few - a_row * sparse.rows_a_flush
    if what == "WAL":
        figure = f"{a_flush:,.0f} bytes; {a_row:.1f} bytes"
    else:
        figure = f"{milliseconds(a_flush)}; {a_row * 1e6:.2f} µs"
    return Line(f"{what}: a flush; each of its rows", figure)


def _size_line(name: str, size: Size) -> Line:
    heap, indexes = size.bytes_a_row
    return Line(f"`{name}`, a row: heap; indexes", f"{heap:.1f} bytes; {indexes:.1f} bytes")


def _growth(running: Service, asked: Asked, runs: list[Measured]) -> Iterator[Line]:
    """Let the fleet grow until it is too large for this machine."""
    fits: Measured | None = None
    full: int | None = None
    for count in _counts(asked):
        found = simulate(running, asked.fleet(count, asked.iterations_a_second))
        runs.append(found)
        yield _growth_line(found)
        if full is None and found.busy >= FULL:
            full = count
        if percentile(found.waits, 0.99) > SLOW_SECONDS:
            break
        fits = found
    if fits is not None:
        yield Line(
            f"the most supervisors with a p99 below {SLOW_SECONDS:.0f} s",
            f"{fits.fleet.supervisors}, {fits.flushes_a_second:,.0f} flushes/s",
        )
    yield Line(
        "supervisors with which the CPU is full, of whatever runs on the machine",
        "none of these" if full is None else f"{full}",
    )


def _counts(asked: Asked) -> list[int]:
    if asked.quick:
        return [asked.supervisors]
    return [max(1, round(asked.supervisors * times)) for times in TIMES]


def _growth_line(found: Measured) -> Line:
    fleet = found.fleet
    return Line(
        f"{fleet.supervisors} supervisors, {fleet.load.iterations_a_second:g} iterations/s each",
        f"{found.rows_a_second:,.0f} rows/s, {found.flushes_a_second:,.0f} flushes/s "
        f"({found.commits_a_second:,.0f} commits/s; {found.deliveries_a_flush:.2f} deliveries a "
        f"flush), from due p50 {milliseconds(percentile(found.waits, 0.5))}, p99 "
        f"{milliseconds(percentile(found.waits, 0.99))}; PostgreSQL {found.server_cores:.2f} "
        f"cores, {milliseconds(found.server_seconds)} a flush; the supervisors "
        f"{found.fleet_cores:.2f} cores; all that runs here {found.busy:.0%} of the machine",
    )


def _hot(runs: Sequence[Measured]) -> Line:
    updates = sum(each.used.updates for each in runs)
    hot = sum(each.used.hot_updates for each in runs) / max(updates, 1)
    return Line(
        "updates of `progress` that are HOT", f"{hot:.2%}", "at least 95 %", hot >= HOT_GOAL
    )


def _missing(running: Service, runs: Sequence[Measured]) -> Line:
    missing = sum(missing_in(running.engine, each.rows_of_jobs, LAYERS) for each in runs)
    rows = sum(sum(each.rows_of_jobs.values()) for each in runs)
    jobs = sum(len(each.rows_of_jobs) for each in runs)
    return Line(
        f"not in the book, or too often: of {rows:,} rows of {jobs:,} jobs, epochs, readings",
        f"{missing:,}",
        "0",
        missing == 0,
    )


def _asked(arguments: Sequence[str]) -> Asked | None:
    """Read the command line; None where the model is asked for."""
    parser = argparse.ArgumentParser(prog=arguments[0])
    parser.add_argument("--quick", action="store_true", help="see that it works; publish nothing")
    parser.add_argument("--model", action="store_true", help="print docs/scale.md's tables")
    parser.add_argument("--supervisors", type=int)
    parser.add_argument("--seconds", type=float, help="that each fleet is measured")
    parser.add_argument("--iterations-a-second", type=float, default=ITERATIONS_A_SECOND)
    parser.add_argument("--database-connections", type=int)
    found = parser.parse_args(arguments[1:])
    if found.model:
        return None
    quick = found.quick
    asked = Asked(
        quick=quick,
        supervisors=found.supervisors or (QUICK_SUPERVISORS if quick else SUPERVISORS),
        seconds=found.seconds or (QUICK_SECONDS if quick else SECONDS),
        iterations_a_second=found.iterations_a_second,
        connections=found.database_connections or (QUICK_CONNECTIONS if quick else CONNECTIONS),
    )
    if not all(0 < each < math.inf for each in (asked.seconds, asked.iterations_a_second)):
        parser.error("seconds and iterations a second must be above 0")
    if asked.supervisors < 1 or not 0 < asked.connections <= MOST_CONNECTIONS:
        parser.error(f"at least one supervisor, and 1 to {MOST_CONNECTIONS} database connections")
    return asked


if __name__ == "__main__":
    sys.exit(main())
