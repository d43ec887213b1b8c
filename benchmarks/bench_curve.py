"""A curve of about a thousand points over HTTP: runs of 10⁴, 10⁶ and 10⁷ iterations.

.venv/bin/python -m benchmarks.bench_curve [--quick] [--peers]
"""

import sys
from functools import partial

from benchmarks.books import fill, id_of, make_owner
from benchmarks.measuring import (
    Line,
    asked,
    conclude,
    in_pairs,
    in_turns,
    middle,
    milliseconds,
    percentile,
    ratios_of,
)
from benchmarks.peers import mlflow
from benchmarks.processes import PROCESSES, by_processes
from benchmarks.service import Service, service
from benchmarks.wire import Wire

SIZES = (10_000, 1_000_000, 10_000_000)
QUICK_SIZES = (10_000, 100_000)
CALLS, QUICK_CALLS = 300, 30
WARM_UP_CALLS = 10
ROUNDS = 5
"""Of an API with one process and one with two, in turns."""
POINTS = 1_000
MEDIAN_GOAL_SECONDS, TAIL_GOAL_SECONDS = 0.005, 0.012
GROWTH_GOAL = 1.5
PEER_SIZE, PEER_CALLS, PEER_WORKERS = 1_000_000, 9, (1, 4)
PEER_GOAL = 200


def measure(running: Service, sizes: tuple[int, ...], calls: int) -> list[Line]:
    paths: dict[int, str] = {}
    for size in sizes:
        owner = make_owner(running.engine)
        fill(running.engine, owner, size)
        paths[size] = f"/v1/jobs/{id_of(running.engine, owner)}/curve?series=loss&points={POINTS}"
    with running.apis(PROCESSES) as apis, Wire(apis[1].url) as wire:
        requests = {size: wire.request("GET", path) for size, path in paths.items()}
        seconds = in_turns(
            {size: partial(wire.ask, request) for size, request in requests.items()},
            calls,
            WARM_UP_CALLS,
        )
        points = {size: len(wire.get(path)["iteration"]) for size, path in paths.items()}
        what, path = f"{sizes[-1]:,} iterations", paths[sizes[-1]]
        beside = by_processes(apis, what, path, rounds=ROUNDS, calls_a_client=calls // ROUNDS)
    lines = [_line(size, points[size], seconds[size]) for size in sizes]
    a_point = {size: middle(seconds[size]) / points[size] for size in sizes}
    growth = a_point[sizes[-1]] / a_point[sizes[0]]
    what = f"time a point, {sizes[-1]:,} over {sizes[0]:,} iterations"
    growing = Line(what, f"{growth:.2f}", f"at most {GROWTH_GOAL}", growth <= GROWTH_GOAL)
    return [*lines, growing, *beside]


def measure_peer(running: Service, size: int, calls: int) -> list[Line]:
    """Draw the same metric of as many iterations by MLflow, in turn with ours."""
    owner = make_owner(running.engine)
    fill(running.engine, owner, size)
    path = f"/v1/jobs/{id_of(running.engine, owner)}/curve?series=loss&points={POINTS}"
    lines = []
    for workers in PEER_WORKERS:
        with running.api() as api, mlflow(running.stack.database_url, workers) as peer:
            with Wire(peer.server.url) as wire:
                run = peer.new_run(wire)
            # A server closes a connection on which nothing comes for some seconds: so a new one.
            peer.fill(run, "loss", size)
            with Wire(api.url) as ours, Wire(peer.server.url) as theirs:
                drawn = peer.charts(theirs, run, "loss", POINTS)
                shown = len(theirs.ask(drawn).json()["metrics"])
                curve = partial(ours.ask, ours.request("GET", path))
                others, ones = in_pairs(partial(theirs.ask, drawn), curve, calls)
        ratio = ratios_of(others, ones)
        what = f"mlflow, {workers} worker{'s' if workers > 1 else ''}, {size:,} values"
        lines += [
            Line(f"{what}, {shown} points", f"p50 {milliseconds(middle(others))}"),
            Line(
                f"{what}: its chart over our curve",
                str(ratio),
                f"at least {PEER_GOAL}",
                ratio.median >= PEER_GOAL,
            ),
        ]
    return lines


def _line(size: int, points: int, seconds: list[float]) -> Line:
    median, tail = middle(seconds), percentile(seconds, 0.95)
    return Line(
        f"{size:,} iterations, {points} points",
        f"p50 {milliseconds(median)}, p95 {milliseconds(tail)}",
        "p50 5 ms, p95 12 ms",
        median <= MEDIAN_GOAL_SECONDS and tail <= TAIL_GOAL_SECONDS,
    )


def main() -> int:
    run = asked(sys.argv)
    with service() as running:
        sizes = QUICK_SIZES if run.quick else SIZES
        lines = measure(running, sizes, QUICK_CALLS if run.quick else CALLS)
        if run.peers:
            size, calls = (sizes[-1], 2) if run.quick else (PEER_SIZE, PEER_CALLS)
            lines += measure_peer(running, size, calls)
    return conclude("Curves over HTTP", lines, run)


if __name__ == "__main__":
    sys.exit(main())
