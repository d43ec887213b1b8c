"""A curve of about a thousand points over HTTP: runs of 10⁴, 10⁶ and 10⁷ iterations.

.venv/bin/python -m benchmarks.bench_curve [--quick]
"""

import sys
import tempfile
from pathlib import Path
from uuid import UUID

import httpx
from pydantic import SecretStr

from benchmarks.books import fill, free_port, id_of, make_owner
from benchmarks.measuring import Line, middle, milliseconds, percentile, publish, seconds_of
from cli.stack.stack import Stack
from foundation.settings import DatabaseSettings
from services.database import make_engine

SIZES = (10_000, 1_000_000, 10_000_000)
QUICK_SIZES = (10_000, 100_000)
CALLS, QUICK_CALLS = 300, 30
WARM_UP_CALLS = 10
POINTS = 1_000
MEDIAN_GOAL_SECONDS, TAIL_GOAL_SECONDS = 0.005, 0.012
GROWTH_GOAL = 1.5


def measure(stack: Stack, sizes: tuple[int, ...], calls: int) -> list[Line]:
    settings = DatabaseSettings(url=SecretStr(stack.database_url))
    engine = make_engine(settings, application_name="bench")
    jobs: dict[int, UUID] = {}
    for size in sizes:
        owner = make_owner(engine)
        fill(engine, owner, size)
        jobs[size] = id_of(engine, owner)
    engine.dispose()
    lines, a_point = [], {}
    with httpx.Client(base_url=stack.url, timeout=60) as client:
        seconds: dict[int, list[float]] = {size: [] for size in sizes}
        for call in range(calls + WARM_UP_CALLS):
            for size, job in jobs.items():
                taken = seconds_of(lambda path=f"/v1/jobs/{job}/curve": _draw(client, path))
                if call >= WARM_UP_CALLS:
                    seconds[size].append(taken)
        for size, job in jobs.items():
            points = len(_draw(client, f"/v1/jobs/{job}/curve")["iteration"])
            median, tail = middle(seconds[size]), percentile(seconds[size], 0.95)
            a_point[size] = median / points
            lines.append(
                Line(
                    f"{size:,} iterations, {points} points",
                    f"p50 {milliseconds(median)}, p95 {milliseconds(tail)}",
                    "p50 5 ms, p95 12 ms",
                    median <= MEDIAN_GOAL_SECONDS and tail <= TAIL_GOAL_SECONDS,
                )
            )
    growth = a_point[sizes[-1]] / a_point[sizes[0]]
    what = f"time a point, {sizes[-1]:,} over {sizes[0]:,} iterations"
    lines.append(Line(what, f"{growth:.2f}", f"at most {GROWTH_GOAL}", growth <= GROWTH_GOAL))
    return lines


def _draw(client: httpx.Client, path: str) -> dict[str, list[float]]:
    answer = client.get(path, params={"points": POINTS}).raise_for_status()
    drawn: dict[str, list[float]] = answer.json()
    return drawn


def main() -> int:
    quick = "--quick" in sys.argv
    with tempfile.TemporaryDirectory(prefix="gradbook-bench-") as home:
        stack = Stack(Path(home), port=free_port(), slots=1)
        with stack:
            stack.start()
            sizes = QUICK_SIZES if quick else SIZES
            lines = measure(stack, sizes, QUICK_CALLS if quick else CALLS)
    return publish("Curves over HTTP", lines, keep=not quick) and not quick


if __name__ == "__main__":
    sys.exit(main())
