"""What a PostgreSQL has used up to now, and how large its tables are."""

from typing import NamedTuple

import psutil
from sqlalchemy import Connection, Table, func, select, text

from models.tables import epochs, events, iterations, layer_readings, rollups, series_rollups

TABLES = (iterations, rollups, layer_readings, series_rollups, epochs, events)
"""Those that grow with the iterations of a job."""

_USED = text("""
    SELECT
        CAST(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') AS bigint),
        (SELECT wal_fpi FROM pg_stat_wal),
        CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint),
        n_tup_upd,
        n_tup_hot_upd
    FROM pg_stat_user_tables WHERE relname = 'progress'
""")
_SIZE = text("SELECT pg_table_size(to_regclass(:name)), pg_indexes_size(to_regclass(:name))")


class Used(NamedTuple):
    """What was used: CPU, WAL, transactions; and updates of `progress`, the HOT ones among them."""

    cpu_seconds: float
    wal_bytes: int
    full_pages: int
    transactions: int
    updates: int
    hot_updates: int

    def since(self, before: "Used") -> "Used":
        seconds, *counts = (now - then for now, then in zip(self, before, strict=True))
        return Used(seconds, *map(int, counts))


class Size(NamedTuple):
    """How large a table is; its heap has what lies beside it (TOAST, maps) with it."""

    rows: int
    heap_bytes: int
    index_bytes: int

    def since(self, before: "Size") -> "Size":
        return Size(*(now - then for now, then in zip(self, before, strict=True)))

    @property
    def bytes_a_row(self) -> tuple[float, float]:
        rows = max(self.rows, 1)
        return self.heap_bytes / rows, self.index_bytes / rows


def read_used(connection: Connection, pid: int) -> Used:
    """Read what the server with that postmaster has used; counters lag behind by up to a second."""
    return Used(_cpu_seconds(pid), *connection.execute(_USED).one())


def read_sizes(connection: Connection) -> dict[str, Size]:
    return {table.name: _size_of(connection, table) for table in TABLES}


def _size_of(connection: Connection, table: Table) -> Size:
    heap, indexes = connection.execute(_SIZE, {"name": table.name}).one()
    rows = connection.execute(select(func.count()).select_from(table)).scalar_one()
    return Size(rows, heap, indexes)


def _cpu_seconds(pid: int) -> float:
    """Of the postmaster, of the children that it has seen end, and of those that live."""
    postmaster = psutil.Process(pid)
    times = postmaster.cpu_times()
    seconds = times.user + times.system + times.children_user + times.children_system
    for child in postmaster.children(recursive=True):
        try:
            mine = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        seconds += mine.user + mine.system
    return float(seconds)
