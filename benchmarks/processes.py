"""One request by several clients, of an API with one process and of one with more, in turns."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from benchmarks.measuring import Line, middle, milliseconds, percentile
from benchmarks.service import Server
from benchmarks.wire import Load, all_seconds, hammer

CLIENTS = 8
PROCESSES = (1, 2)
"""Of the APIs that are measured side by side; several are the normal case."""
WARM_UP_CALLS = 3


def gets(server: Server, path: str, calls_a_client: int) -> Load:
    """Let the clients read a path; what was answered is thrown away."""
    load = hammer(
        server.url,
        CLIENTS,
        calls_a_client,
        lambda wire: wire.request("GET", path),
        warm_up=WARM_UP_CALLS,
    )
    return replace(load, answers=[])


def by_processes(
    apis: Mapping[int, Server], what: str, path: str, *, rounds: int, calls_a_client: int
) -> list[Line]:
    """Read a path from each of the APIs; a line an API."""
    loads: dict[int, list[Load]] = {processes: [] for processes in apis}
    for _ in range(rounds):
        for processes, api in apis.items():
            loads[processes].append(gets(api, path, calls_a_client))
    return [
        load_line(f"{what}, {CLIENTS} clients, {named(processes)}", each)
        for processes, each in loads.items()
    ]


def load_line(what: str, loads: Sequence[Load]) -> Line:
    seconds = all_seconds(loads)
    rate = middle([load.rate for load in loads])
    p50, p95 = milliseconds(middle(seconds)), milliseconds(percentile(seconds, 0.95))
    return Line(what, f"{rate:,.0f} a second, p50 {p50}, p95 {p95}")


def named(processes: int) -> str:
    return f"{processes} API process{'es' if processes > 1 else ''}"
