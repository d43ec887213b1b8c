"""Submitting jobs: how long one takes, and how many a second eight clients get in.

What is published is of an API with one process and of `gradbook api --workers 2`, in turns on the
same database; no worker runs, so every job stays queued. Afterwards every job that was answered
with 201 is looked for in the book.

    .venv/bin/python -m benchmarks.bench_submit [--quick] [--peers]
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import UUID

from sqlalchemy import Engine, func, select

from benchmarks.measuring import Line, asked, conclude, middle, milliseconds, percentile
from benchmarks.peers import Mlflow, mlflow
from benchmarks.service import service
from benchmarks.wire import Load, Wire, all_seconds, hammer
from models.tables import jobs
from services.database import snapshot

SPEC = {
    "dataset": {"name": "digits"},
    "network": {"name": "small_cnn"},
    "epochs": 1,
    "batch_size": 64,
}
CLIENTS = 8
ROUNDS, QUICK_ROUNDS = 7, 2
JOBS_A_CLIENT, QUICK_JOBS_A_CLIENT = 100, 20
ALONE = 100
MEDIAN_GOAL_SECONDS = 0.010
GOALS = {1: 200, 2: 260}
"""Jobs a second, by the number of API processes."""
PEER_GOAL = 2.0


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
    together: dict[int, list[Load]] = {workers: [] for workers in GOALS}
    with ExitStack() as stack:
        running = stack.enter_context(service())
        apis = {workers: stack.enter_context(running.api(workers)) for workers in GOALS}
        peer = stack.enter_context(_peer(running.stack.database_url, wanted=with_peers))
        theirs: list[Load] = []
        for _ in range(rounds):
            alone.append(hammer(apis[1].url, 1, min(ALONE, jobs_a_client), submits))
            for workers, api in apis.items():
                together[workers].append(hammer(api.url, CLIENTS, jobs_a_client, submits))
            if peer is not None:
                theirs.append(_creating(peer, jobs_a_client))
        missing = lost(
            running.engine, [*alone, *(each for all_ in together.values() for each in all_)]
        )
    return [*_lines(alone, together, missing), *_peer_lines(together[1], theirs)]


@contextmanager
def _peer(database_url: str, *, wanted: bool) -> Iterator[Mlflow | None]:
    if not wanted:
        print("mlflow is left out of a quick run: --peers brings it in")
        yield None
        return
    with mlflow(database_url, workers=1) as peer:
        yield peer


def _creating(peer: Mlflow, runs_a_client: int) -> Load:
    return hammer(peer.server.url, CLIENTS, runs_a_client, peer.creates_run)


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
        what = f"{CLIENTS} clients, {workers} API process{'es' if workers > 1 else ''}"
        lines.append(Line(what, f"{rate:.0f} jobs/s", f"at least {goal}", rate >= goal))
    lines.append(Line("promised and not in the book", f"{missing}", "0", missing == 0))
    return lines


def _peer_lines(ours: list[Load], theirs: list[Load]) -> list[Line]:
    if not theirs:
        return []
    ratios = [mine.rate / other.rate for mine, other in zip(ours, theirs, strict=True)]
    ratio = middle(ratios)
    rate = middle([load.rate for load in theirs])
    return [
        Line(f"mlflow, one worker: create_run, {CLIENTS} clients", f"{rate:.0f} runs/s"),
        Line(
            "submit over mlflow's create_run",
            f"{ratio:.2f}",
            f"at least {PEER_GOAL:g}",
            ratio >= PEER_GOAL,
        ),
    ]


def main() -> int:
    run = asked(sys.argv)
    rounds = QUICK_ROUNDS if run.quick else ROUNDS
    jobs_a_client = QUICK_JOBS_A_CLIENT if run.quick else JOBS_A_CLIENT
    return conclude("Submit", measure(rounds, jobs_a_client, with_peers=run.peers), run)


if __name__ == "__main__":
    sys.exit(main())
