"""Submitting jobs: how long one takes, and how many a second eight clients get in.

What is published is of an API with one process and of `gradbook api --workers 2`, in turns on the
same database; no worker runs, so every job stays queued. Afterwards every job that was answered
with 201 is looked for in the book.

    .venv/bin/python -m benchmarks.bench_submit [--quick] [--peers]
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from uuid import UUID

from sqlalchemy import Engine, func, select

from benchmarks.measuring import (
    Line,
    asked,
    conclude,
    middle,
    milliseconds,
    percentile,
    seconds_of,
)
from benchmarks.peers import Mlflow, mlflow
from benchmarks.processes import CLIENTS, named
from benchmarks.service import Server, service
from benchmarks.wire import Load, Wire, all_seconds, hammer
from models.tables import jobs
from services.database import snapshot

SPEC = {
    "dataset": {"name": "digits"},
    "network": {"name": "small_cnn"},
    "epochs": 1,
    "batch_size": 64,
}
ROUNDS, QUICK_ROUNDS = 5, 2
JOBS_A_CLIENT, QUICK_JOBS_A_CLIENT = 100, 20
ALONE = 100
MEDIAN_GOAL_SECONDS = 0.010
GOALS = {1: 200, 2: 260}
"""Jobs a second, by the number of API processes."""
PEER_WORKERS, PEER_GOAL = (1, 4), 2.0


def submits(wire: Wire) -> bytes:
    return wire.request("POST", "/v1/jobs", SPEC)


def lost(engine: Engine, loads: list[Load]) -> int:
    """How many of the jobs that were promised are not in the book."""
    promised = {UUID(answer.json()["id"]) for load in loads for answer in load.answers}
    with snapshot(engine) as connection:
        found = connection.scalar(select(func.count()).where(jobs.c.id.in_(promised)))
    return len(promised) - (found or 0)


def measure(rounds: int, jobs_a_client: int, *, with_peers: bool) -> list[Line]:
    alone: list[Load] = []
    together: dict[int, list[Load]] = {processes: [] for processes in GOALS}
    theirs: dict[int, list[Load]] = {workers: [] for workers in PEER_WORKERS}
    with ExitStack() as stack:
        running = stack.enter_context(service())
        apis = stack.enter_context(running.apis(GOALS))
        peers = stack.enter_context(_peers(running.stack.database_url, wanted=with_peers))
        for _ in range(rounds):
            alone.append(hammer(apis[1].url, 1, min(ALONE, jobs_a_client), submits))
            for processes, api in apis.items():
                together[processes].append(hammer(api.url, CLIENTS, jobs_a_client, submits))
            for workers, peer in peers.items():
                creates = peer.creates_run
                theirs[workers].append(hammer(peer.server.url, CLIENTS, jobs_a_client, creates))
        missing = lost(running.engine, [*alone, *chain.from_iterable(together.values())])
        lines = _lines(alone, together, missing)
        for workers, peer in peers.items():
            lines += _peer_lines(workers, peer, together[1], theirs[workers])
        if peers:
            lines.append(_memory(f"memory of ours, {named(1)}", apis[1]))
    return lines


@contextmanager
def _peers(database_url: str, *, wanted: bool) -> Iterator[dict[int, Mlflow]]:
    with ExitStack() as stack:
        if not wanted:
            print("mlflow is left out of a quick run: --peers brings it in")
        workers = PEER_WORKERS if wanted else ()
        yield {each: stack.enter_context(mlflow(database_url, each)) for each in workers}


def _lines(alone: list[Load], together: dict[int, list[Load]], missing: int) -> list[Line]:
    seconds = all_seconds(alone)
    median, tail = middle(seconds), percentile(seconds, 0.95)
    lines = [
        Line(
            f"one client, {len(seconds):,} jobs",
            f"p50 {milliseconds(median)}, p95 {milliseconds(tail)}",
            f"p50 {milliseconds(MEDIAN_GOAL_SECONDS)}",
            median <= MEDIAN_GOAL_SECONDS,
        )
    ]
    for workers, loads in together.items():
        rate, goal = middle([load.rate for load in loads]), GOALS[workers]
        what = f"{CLIENTS} clients, {named(workers)}"
        lines.append(Line(what, f"{rate:.0f} jobs/s", f"at least {goal}", rate >= goal))
    lines.append(Line("promised and not in the book", f"{missing}", "0", missing == 0))
    return lines


def _peer_lines(workers: int, peer: Mlflow, ours: list[Load], theirs: list[Load]) -> list[Line]:
    what = f"mlflow, {workers} worker{'s' if workers > 1 else ''}"
    with Wire(peer.server.url) as wire:
        seconds = [seconds_of(partial(peer.new_run, wire)) for _ in range(ALONE)]
    rate = middle([load.rate for load in theirs])
    ratio = middle([mine.rate / other.rate for mine, other in zip(ours, theirs, strict=True)])
    return [
        Line(f"{what}: create_run, one client", f"p50 {milliseconds(middle(seconds))}"),
        Line(f"{what}: create_run, {CLIENTS} clients", f"{rate:.0f} runs/s"),
        Line(
            f"{what}: submit, {named(1)}, over its create_run",
            f"{ratio:.2f}",
            f"at least {PEER_GOAL:g}",
            ratio >= PEER_GOAL,
        ),
        Line(f"{what}: start until it answers", f"{peer.start_seconds:.1f} s"),
        _memory(f"{what}: memory", peer.server),
    ]


def _memory(what: str, server: Server) -> Line:
    return Line(what, f"{server.memory_bytes() / 2**20:,.0f} MiB")


def main() -> int:
    run = asked(sys.argv)
    rounds = QUICK_ROUNDS if run.quick else ROUNDS
    jobs_a_client = QUICK_JOBS_A_CLIENT if run.quick else JOBS_A_CLIENT
    return conclude("Submit", measure(rounds, jobs_a_client, with_peers=run.peers), run)


if __name__ == "__main__":
    sys.exit(main())
