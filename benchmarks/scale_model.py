"""The service at ten, a thousand and a hundred thousand devices, from what a flush and a row cost.

COSTS were measured by benchmarks/simulate_fleet.py; docs/scale.md says when and on what, explains
each line and has the tables that `tables` writes: a test holds them equal.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Costs(NamedTuple):
    """What was measured. A row is an iteration's, with all that comes with it.

    Attributes:
        flush_cpu: seconds of one core, of PostgreSQL; so are those of a row and of a hint.
        row_cpu: seconds.
        flush_wal: bytes.
        row_wal: bytes.
        hint_cpu: seconds.
        supervisor_flush_cpu: seconds of one core, of the worker.
        supervisor_row_cpu: seconds.
        row_bytes: of a table, heap and indexes, a row of that table.

    """

    flush_cpu: float
    row_cpu: float
    flush_wal: float
    row_wal: float
    hint_cpu: float
    supervisor_flush_cpu: float
    supervisor_row_cpu: float
    row_bytes: "TableBytes"


class TableBytes(NamedTuple):
    """Heap and indexes, a row of each table."""

    iterations: float
    rollups: float
    layer_readings: float
    series_rollups: float
    epochs: float
    events: float


class Site(NamedTuple):
    """A service of some size, with all of its devices at work.

    Attributes:
        name: as the table has it.
        devices: that train, one job each.
        iterations_a_second: of each.
        delivery_seconds: between two flushes of each.
        layers: of each network.
        batches_an_epoch: of each.
        slots_a_worker: devices that one worker has.
        hours_a_day: that a device trains.
        viewers: of live streams.

    """

    name: str
    devices: int
    iterations_a_second: float = 20.0
    delivery_seconds: float = 0.25
    layers: int = 12
    batches_an_epoch: int = 196
    slots_a_worker: int = 8
    hours_a_day: float = 16.0
    viewers: int = 0


COSTS = Costs(
    flush_cpu=0.74e-3,
    row_cpu=5.5e-6,
    flush_wal=241.0,
    row_wal=234.0,
    hint_cpu=0.10e-3,
    supervisor_flush_cpu=1.76e-3,
    supervisor_row_cpu=5.6e-6,
    row_bytes=TableBytes(
        iterations=125.7,
        rollups=260.1,
        layer_readings=146.6,
        series_rollups=155.2,
        epochs=259.8,
        events=490.6,
    ),
)
SITES = (
    Site("10 devices", 10, viewers=5),
    Site("1,000 devices", 1_000, viewers=200),
    Site("100,000 devices", 100_000, viewers=5_000),
    Site("100,000, a flush every 2 s", 100_000, delivery_seconds=2.0, viewers=5_000),
)
LAYERS_EVERY = 50
# Level 1 has a bucket for 16 points, each level above a quarter of the one below it.
BUCKETS_A_POINT = 1 / 16 * 4 / 3
# Of a layer's five norms three are those of layers with weights, which are half of them.
SERIES_A_LAYER = 3.5
HINTS_A_SECOND = 10
"""Of one worker, at most: services/hints.py."""
VIEWERS_A_PROCESS = 2_000
"""At the 0.35 core for 1,000 viewers that bench_viewers holds, with a third of a core to spare."""
SESSIONS_BESIDE_SLOTS = 11
"""Of one worker, at most: its rounds, its notifier, its reaper (worker/main.py)."""
SESSIONS_OF_AN_API = 23
"""Two pools, its notifier, its health and its ear (api/main.py)."""
FREEZE_TRANSACTIONS = 200e6
"""PostgreSQL's own autovacuum_freeze_max_age."""

# What one large server is taken to give: assumed, not measured.
SERVER_CORES = 32 * 0.7
SERVER_SESSIONS = 2_000
SERVER_WAL_BYTES = 200e6
SERVER_HINTS = 10_000
SERVER_FREEZE_HOURS = 4
SERVER_DISK_BYTES = 10e12
DAYS_KEPT = 30

HOUR_SECONDS = 3_600


def rows(site: Site) -> float:
    """Rows of iterations a second."""
    return site.devices * site.iterations_a_second


def flushes(site: Site) -> float:
    """Flushes a second."""
    return site.devices / site.delivery_seconds


def hints(site: Site) -> float:
    """Transactions a second that tell listeners."""
    workers = site.devices / site.slots_a_worker
    return workers * min(HINTS_A_SECOND, site.slots_a_worker / site.delivery_seconds)


def cores(site: Site) -> float:
    """Cores of PostgreSQL that write; readers come on top."""
    writing = COSTS.flush_cpu * flushes(site) + COSTS.row_cpu * rows(site)
    return writing + COSTS.hint_cpu * hints(site)


def worker_cores(site: Site) -> float:
    """Cores of all workers together, for flushing."""
    flushing = COSTS.supervisor_flush_cpu * flushes(site)
    return flushing + COSTS.supervisor_row_cpu * rows(site)


def wal(site: Site) -> float:
    """Bytes of WAL a second."""
    return COSTS.flush_wal * flushes(site) + COSTS.row_wal * rows(site)


def sessions(site: Site) -> float:
    """Sessions that workers and API processes keep at most, without a pooler."""
    workers = site.devices / site.slots_a_worker
    beside = workers * SESSIONS_BESIDE_SLOTS + api_processes(site) * SESSIONS_OF_AN_API
    return site.devices + beside


def api_processes(site: Site) -> int:
    """API processes that serve the viewers."""
    return math.ceil(site.viewers / VIEWERS_A_PROCESS)


def bytes_of_iterations(site: Site) -> float:
    """Bytes a second by which the table of iterations grows: what an archive takes away."""
    return COSTS.row_bytes.iterations * rows(site)


def bytes_of_the_rest(site: Site) -> float:
    """Bytes a second of rollups, layers, epochs and events: what stays."""
    table = COSTS.row_bytes
    readings = site.layers / LAYERS_EVERY
    norms = SERIES_A_LAYER * readings
    a_row = (
        table.rollups * BUCKETS_A_POINT
        + table.layer_readings * readings
        + table.series_rollups * norms * BUCKETS_A_POINT
        + (table.epochs + table.events) / site.batches_an_epoch
    )
    return a_row * rows(site)


def kept_bytes(site: Site) -> float:
    """Bytes of rows of iterations in the database, archived DAYS_KEPT days after their job."""
    return bytes_of_iterations(site) * _day(site) * DAYS_KEPT


def hours_to_freeze(site: Site) -> float:
    """Hours until so many transactions are written that PostgreSQL must freeze."""
    return FREEZE_TRANSACTIONS / (flushes(site) + hints(site)) / HOUR_SECONDS


def _day(site: Site) -> float:
    return site.hours_a_day * HOUR_SECONDS


LINES: Sequence[tuple[str, Callable[[Site], float]]] = (
    ("iterations/s of a device", lambda site: site.iterations_a_second),
    ("seconds between two flushes of a device", lambda site: site.delivery_seconds),
    ("viewers", lambda site: site.viewers),
    ("rows/s", rows),
    ("flushes/s, each a commit", flushes),
    ("hints/s, each a commit without a wait for the disk", hints),
    ("cores of PostgreSQL, for writing", cores),
    ("cores of all workers, for flushing", worker_cores),
    ("WAL, MB/s", lambda site: wal(site) / 1e6),
    ("WAL, TB a day", lambda site: wal(site) * _day(site) / 1e12),
    ("sessions without a pooler", sessions),
    ("hours to 200 million transactions", hours_to_freeze),
    ("rows a day, millions", lambda site: rows(site) * _day(site) / 1e6),
    ("rows of iterations, GB a day", lambda site: bytes_of_iterations(site) * _day(site) / 1e9),
    (f"the same, {DAYS_KEPT} days of them, TB", lambda site: kept_bytes(site) / 1e12),
    ("what an archive leaves, GB a day", lambda site: bytes_of_the_rest(site) * _day(site) / 1e9),
    ("API processes for the viewers", api_processes),
)
# What one server has of each, and what a site asks of it.
PARTS: Sequence[tuple[str, float, Callable[[Site], float]]] = (
    (f"sessions: {SERVER_SESSIONS:,}, no pooler", SERVER_SESSIONS, sessions),
    (
        f"a freeze every {SERVER_FREEZE_HOURS} h",
        1 / SERVER_FREEZE_HOURS,
        lambda site: 1 / hours_to_freeze(site),
    ),
    ("cores: 70 % of 32", SERVER_CORES, cores),
    (f"hints: {SERVER_HINTS:,}/s", SERVER_HINTS, hints),
    ("WAL: 200 MB/s", SERVER_WAL_BYTES, wal),
    (f"disk: 10 TB, rows of {DAYS_KEPT} days", SERVER_DISK_BYTES, kept_bytes),
)


def tables() -> str:
    """The tables of docs/scale.md: what was measured, the sizes, and what is full when."""
    return f"{_costs()}\n\n{_sizes()}\n\n{_limits()}"


def _costs() -> str:
    cpu = [
        ["CPU of PostgreSQL, a flush", f"{COSTS.flush_cpu * 1e3:.2f} ms"],
        ["the same, each row of it more", f"{COSTS.row_cpu * 1e6:.1f} µs"],
        ["CPU of PostgreSQL, a hint", f"{COSTS.hint_cpu * 1e3:.2f} ms"],
        ["CPU of the worker, a flush", f"{COSTS.supervisor_flush_cpu * 1e3:.2f} ms"],
        ["the same, each row of it more", f"{COSTS.supervisor_row_cpu * 1e6:.1f} µs"],
        ["WAL, a flush", f"{COSTS.flush_wal:,.0f} bytes"],
        ["the same, each row of it more", f"{COSTS.row_wal:,.0f} bytes"],
    ]
    sizes = [
        [f"`{name}`, a row of it, heap and index", f"{size:,.0f} bytes"]
        for name, size in COSTS.row_bytes._asdict().items()
    ]
    return _table(["what", "measured"], [*cpu, *sizes])


def _sizes() -> str:
    head = ["at full work", *(site.name for site in SITES)]
    return _table(head, [[what, *(_short(ask(site)) for site in SITES)] for what, ask in LINES])


def _limits() -> str:
    """How many devices one server serves before each part of it is full."""
    paces = [Site("", 1_000), Site("", 1_000, delivery_seconds=2.0)]
    head = [
        "one server has",
        *(f"devices, a flush every {each.delivery_seconds:g} s" for each in paces),
    ]
    return _table(
        head,
        [
            [part, *(_short(site.devices * has / ask(site)) for site in paces)]
            for part, has, ask in PARTS
        ],
    )


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *lines))


def _short(number: float) -> str:
    """Two digits that count."""
    if number == 0:
        return "0"
    places = 1 - math.floor(math.log10(abs(number)))
    return f"{round(number, places):,.{max(0, places)}f}".removesuffix(".0")
