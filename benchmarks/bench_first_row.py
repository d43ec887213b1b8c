"""From the POST of a job to its first row over REST, on a warm worker.

Beside it stands what the wire alone costs in the same run: the same POST to /v1/plan, which
validates and computes but queues nothing.

    .venv/bin/python -m benchmarks.bench_first_row [--quick]
"""

import sys
import time

from benchmarks.measuring import Line, asked, conclude, middle, milliseconds
from benchmarks.service import Service, service, wait_for_worker
from benchmarks.wire import Wire

SPEC = {
    "name": "first row",
    "dataset": {"name": "digits"},
    "network": {"name": "small_cnn"},
    "epochs": 1,
    "batch_size": 64,
}
ROUNDS, QUICK_ROUNDS = 30, 1
MEDIAN_GOAL_SECONDS = 0.2
WORST_GOAL_SECONDS = 0.5
POLL_SECONDS = 0.002
DEADLINE_SECONDS = 30.0


def to_first_row(wire: Wire) -> float:
    """POST a job and wait for a row of it; then let it end, so that the worker is free again."""
    submit = wire.request("POST", "/v1/jobs", SPEC)
    began = time.perf_counter()
    address = f"/v1/jobs/{wire.ask(submit).json()['id']}"
    while not wire.get(f"{address}/iterations?limit=1")["total"]:
        if time.perf_counter() - began > DEADLINE_SECONDS:
            raise TimeoutError(f"no row of {address} within {DEADLINE_SECONDS} s")
        time.sleep(POLL_SECONDS)
    seconds = time.perf_counter() - began
    while wire.get(address)["finished_at"] is None:
        wire.get(f"{address}?wait_seconds=5")
    return seconds


def to_plan(wire: Wire) -> float:
    plan = wire.request("POST", "/v1/plan", SPEC)
    began = time.perf_counter()
    wire.ask(plan)
    return time.perf_counter() - began


def measure(running: Service, rounds: int) -> list[Line]:
    first_rows, plans = [], []
    with running.api() as api, running.worker(), Wire(api.url) as wire:
        wait_for_worker(api)
        to_first_row(wire)
        for _ in range(rounds):
            plans.append(to_plan(wire))
            first_rows.append(to_first_row(wire))
    median, worst = middle(first_rows), max(first_rows)
    return [
        Line(
            "POST to the first row queryable",
            f"p50 {milliseconds(median)}, worst {milliseconds(worst)}",
            "p50 200 ms, worst 500 ms",
            median <= MEDIAN_GOAL_SECONDS and worst <= WORST_GOAL_SECONDS,
        ),
        Line("beside it: POST /v1/plan", f"p50 {milliseconds(middle(plans))}"),
    ]


def main() -> int:
    run = asked(sys.argv)
    with service() as running:
        lines = measure(running, QUICK_ROUNDS if run.quick else ROUNDS)
    return conclude("Submit to first row", lines, run)


if __name__ == "__main__":
    sys.exit(main())
