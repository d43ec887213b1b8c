"""From the POST of a job to its first row over REST, on a warm worker.

Goal: 0.2 s at the median, 0.5 s at worst. Beside it stands what the wire alone costs in the
same run: the same POST to /v1/plan, which validates and computes but queues nothing.

    .venv/bin/python -m benchmarks.bench_first_row [rounds]
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks.books import free_port
from cli.stack.stack import Stack

SPEC = {
    "name": "first row",
    "dataset": {"name": "digits"},
    "network": {"name": "small_cnn"},
    "epochs": 1,
    "batch_size": 64,
}
ROUNDS = 30
MEDIAN_GOAL_SECONDS = 0.2
WORST_GOAL_SECONDS = 0.5
POLL_SECONDS = 0.002
DEADLINE_SECONDS = 30.0


def to_first_row(client: httpx.Client) -> float:
    """POST a job and wait for a row of it; then let it end, so that the worker is free again."""
    began = time.perf_counter()
    answer = client.post("/v1/jobs", json=SPEC).raise_for_status()
    address = answer.headers["Location"]
    while not client.get(f"{address}/iterations", params={"limit": 1}).json()["total"]:
        if time.perf_counter() - began > DEADLINE_SECONDS:
            raise TimeoutError(f"no row of {address} within {DEADLINE_SECONDS} s")
        time.sleep(POLL_SECONDS)
    seconds = time.perf_counter() - began
    while client.get(address).json()["finished_at"] is None:
        client.get(address, params={"wait_seconds": 5})
    return seconds


def to_plan(client: httpx.Client) -> float:
    began = time.perf_counter()
    client.post("/v1/plan", json=SPEC).raise_for_status()
    return time.perf_counter() - began


def measure(rounds: int) -> dict[str, list[float]]:
    with tempfile.TemporaryDirectory(prefix="gradbook-bench-") as home:
        stack = Stack(Path(home), port=free_port(), slots=1)
        with stack, httpx.Client(base_url=stack.url, timeout=30) as client:
            stack.start()
            stack.wait_for_worker()
            to_first_row(client)
            first_rows, plans = [], []
            for _ in range(rounds):
                plans.append(to_plan(client))
                first_rows.append(to_first_row(client))
    return {"submit to first row": first_rows, "POST /v1/plan": plans}


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    measured = measure(rounds)
    print(f"{'':22} {'p50':>9} {'worst':>9}   of {rounds}")
    for name, seconds in measured.items():
        print(f"{name:22} {statistics.median(seconds):7.3f} s {max(seconds):7.3f} s")
    print(json.dumps({name: sorted(seconds) for name, seconds in measured.items()}))
    first_rows = measured["submit to first row"]
    reached = (
        statistics.median(first_rows) <= MEDIAN_GOAL_SECONDS
        and max(first_rows) <= WORST_GOAL_SECONDS
    )
    print("goal reached" if reached else "goal MISSED")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
