"""A filtered, ordered page of 100 out of 100,000 jobs: by indexed fields, and by any other.

The jobs are made by SQL, of a thousand networks; each has a whole spec and plan of its own.
MLflow's page is out of 10,000 runs with three numbers and three parameters each.

    .venv/bin/python -m benchmarks.bench_list [--quick] [--peers]
"""

import sys
from collections.abc import Mapping
from functools import partial
from urllib.parse import urlencode

from benchmarks.measuring import (
    Line,
    asked,
    conclude,
    in_turns,
    middle,
    milliseconds,
    percentile,
)
from benchmarks.peers import mlflow
from benchmarks.processes import PROCESSES, WARM_UP_CALLS, by_processes
from benchmarks.service import Service, service
from benchmarks.wire import Wire
from services.database import transaction
from tests.many_jobs import make_jobs

JOBS, QUICK_JOBS = 100_000, 5_000
CALLS, ANY_CALLS, QUICK_CALLS = 200, 60, 2
"""Of each page by indexed fields, and by any other: those take long, and all alike."""
PAGE, LONGEST_PAGE = 100, 1_000
NETWORK, NETWORKS = "resnet18", 1_000
"""How many different networks are made of it: what layers say is unpacked once each."""
ROUNDS, QUICK_ROUNDS, CALLS_A_CLIENT = 5, 1, 10
PEER_RUNS, PEER_CALLS, PEER_WORKERS = 10_000, 30, (1, 4)
INDEXED_GOAL_SECONDS, ANY_GOAL_SECONDS = 0.025, 0.250
INDEXED = {
    "newest of a project": {"project": "project-3"},
    "failed, newest first": {"filter": "state = 'failed'"},
    "of a project, best first": {"project": "project-3", "order_by": "summary.best_loss"},
    "loss below, by loss": {"filter": "summary.best_loss < 0.5", "order_by": "summary.best_loss"},
    "a tag, newest first": {"filter": "tags.team = 'team 2'"},
    "since a day, by name": {"filter": "created_at > '2026-01-02T00:00:00Z'", "order_by": "name"},
}
TOGETHER = "of a project, best first"
"""What several clients ask for at once."""
DEEP = {
    "newest, from the middle on": {},
    "by name, from the middle on": {"order_by": "name"},
    "best first, from the middle on": {"order_by": "summary.best_loss"},
}
"""Asked for with a cursor that lies behind half of the jobs."""
ANY = {
    "a learning rate above, newest first": {"filter": "spec.optimizer.lr > 0.09"},
    "by learning rate": {"order_by": "-spec.optimizer.lr"},
    "a seed, newest first": {"filter": "spec.seed > 4000 and spec.seed < 4500"},
    "by loss now": {"filter": "latest.loss < 0.3", "order_by": "latest.loss"},
    "groups of a learning rate": {"group_by": "spec.optimizer.lr"},
    "by iterations planned": {"order_by": "-plan.iterations_total"},
    "by progress": {"order_by": "progress.fraction"},
    "a tag like": {"filter": "tags.run like '%77'"},
    "by a layer's name, of 1,000 networks": {"order_by": "plan.network.layers.0.name"},
    "groups of a layer's name, of 1,000 networks": {"group_by": "plan.network.layers.0.name"},
    "a layer's name like, of 1,000 networks": {"filter": "plan.network.layers.0.name like '% 77'"},
}


def measure(running: Service, count: int, calls: int, any_calls: int, rounds: int) -> list[Line]:
    with transaction(running.engine) as connection:
        make_jobs(connection, count, NETWORK, NETWORKS)
    with running.apis(PROCESSES) as apis, Wire(apis[1].url) as wire:
        deep = {name: query | _middle(wire, query, count) for name, query in DEEP.items()}
        seconds = _in_turns(wire, INDEXED | deep, calls) | _in_turns(wire, ANY, any_calls)
        path = _path(INDEXED[TOGETHER])
        beside = by_processes(apis, TOGETHER, path, rounds=rounds, calls_a_client=CALLS_A_CLIENT)
    return [*(_line(name, each) for name, each in seconds.items()), *beside]


def _in_turns(
    wire: Wire, queries: Mapping[str, dict[str, str]], calls: int
) -> dict[str, list[float]]:
    asks = {
        name: partial(wire.ask, wire.request("GET", _path(query)))
        for name, query in queries.items()
    }
    seconds = in_turns(asks, calls, min(WARM_UP_CALLS, calls))
    for name, ask in asks.items():
        if not ask().json()["items"]:
            raise RuntimeError(f"{name}: an empty page measures nothing")
    return seconds


def measure_peer(running: Service, count: int, calls: int) -> list[Line]:
    """Ask MLflow for such a page, with its one worker and with its default four."""
    lines = []
    for workers in PEER_WORKERS:
        with mlflow(running.stack.database_url, workers) as peer:
            peer.fill_runs(count)
            with Wire(peer.server.url) as wire:
                page = peer.searches(wire, "metrics.best_loss < 0.5", "metrics.best_loss ASC", PAGE)
                if len(wire.ask(page).json()["runs"]) != PAGE:
                    raise RuntimeError("MLflow's page is not full")
                seconds = in_turns({"page": partial(wire.ask, page)}, calls)["page"]
        what = f"mlflow, {workers} worker{'s' if workers > 1 else ''}, {count:,} runs"
        figure = (
            f"p50 {milliseconds(middle(seconds))}, p95 {milliseconds(percentile(seconds, 0.95))}"
        )
        lines.append(Line(f"{what}: loss below, by loss", figure))
    return lines


def _middle(wire: Wire, query: dict[str, str], count: int) -> dict[str, str]:
    """Turn the pages of a list up to its middle."""
    at: dict[str, str] = {}
    for _ in range(max(1, count // 2 // LONGEST_PAGE)):
        page = wire.ask(wire.request("GET", _path(query | at, LONGEST_PAGE))).json()
        at = {"cursor": page["next_cursor"]}
    return at


def _path(query: dict[str, str], limit: int = PAGE) -> str:
    return "/v1/jobs?" + urlencode({**query, "limit": str(limit)})


def _line(name: str, seconds: list[float]) -> Line:
    goal = ANY_GOAL_SECONDS if name in ANY else INDEXED_GOAL_SECONDS
    kind = "any field" if name in ANY else "indexed"
    tail = percentile(seconds, 0.95)
    return Line(
        f"{kind}: {name}",
        f"p50 {milliseconds(middle(seconds))}, p95 {milliseconds(tail)}",
        f"p95 {milliseconds(goal)}",
        tail <= goal,
    )


def main() -> int:
    run = asked(sys.argv)
    with service() as running:
        count = QUICK_JOBS if run.quick else JOBS
        calls, any_calls = (QUICK_CALLS, QUICK_CALLS) if run.quick else (CALLS, ANY_CALLS)
        rounds = QUICK_ROUNDS if run.quick else ROUNDS
        lines = [Line("jobs", f"{count:,}"), *measure(running, count, calls, any_calls, rounds)]
        if run.peers:
            lines += measure_peer(running, PEER_RUNS, QUICK_CALLS if run.quick else PEER_CALLS)
    return conclude("Lists of jobs", lines, run)


if __name__ == "__main__":
    sys.exit(main())
