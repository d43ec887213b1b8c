"""Deleting a long job: in batches, as the service does, and in one go; and what others feel of it.

.venv/bin/python -m benchmarks.bench_deletion [--quick]
"""

import itertools
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Engine, delete, text

from benchmarks.books import fill, make_owner, make_rows
from benchmarks.measuring import Line, clock, milliseconds, percentile, publish, seconds_of
from cli.stack.postgres import EmbeddedPostgres
from foundation.settings import DatabaseSettings
from migrations.run import migrate
from models.tables import jobs
from services.database import make_engine, transaction
from services.pages import Page
from services.recording import flush
from services.remains import BULK, sweep

ROWS, QUICK_ROWS = 10_000_000, 50_000
ROWS_A_FLUSH = 200

_EPOCHS = text("""
    INSERT INTO epochs (job_key, epoch, batches, samples, first_iteration, last_iteration,
        skipped_updates, seconds)
    SELECT :job, n, 1, 64, n, n, 0, 0.1 FROM generate_series(1, CAST(:count AS integer)) AS n
""")
_EVENTS = text("""
    INSERT INTO events (job_key, id, type, data)
    SELECT :job, 1000 + n, 'epoch', '{"epoch": 1, "train_loss": 0.5}'
    FROM generate_series(1, CAST(:count AS integer)) AS n
""")


def flushes_beside(engine: Engine, work: Callable[[], object]) -> tuple[float, list[float]]:
    """Flush for another job while the work is done; returns its seconds and each flush's."""
    owner, done = make_owner(engine), threading.Event()
    seconds: list[float] = []

    def write() -> None:
        for first in itertools.count(1, ROWS_A_FLUSH):
            if done.is_set():
                return
            page = Page(rows=make_rows(first, ROWS_A_FLUSH))
            seconds.append(seconds_of(partial(_flush, page)))
            done.wait(0.01)

    def _flush(page: Page) -> None:
        with transaction(engine) as connection:
            flush(connection, owner, page)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        taken = seconds_of(work)
    finally:
        done.set()
        writer.join()
    return taken, seconds


def in_one_go(engine: Engine, job_key: int) -> None:
    with transaction(engine) as connection:
        for table in BULK:
            connection.execute(delete(table).where(table.c.job_key == job_key))


def in_batches(engine: Engine, job_key: int, batches: list[float]) -> None:
    with clock() as seconds, transaction(engine) as connection:
        connection.execute(delete(jobs).where(jobs.c.key == job_key))
    batches += seconds

    def once() -> bool:
        with transaction(engine) as connection:
            return sweep(connection)

    more = True
    while more:
        with clock() as seconds:
            more = once()
        batches += seconds


def measure(engine: Engine, rows: int) -> list[Line]:
    batched, whole = make_owner(engine), make_owner(engine)
    for owner in (batched, whole):
        fill(engine, owner, rows)
        with transaction(engine) as connection:
            for statement in (_EPOCHS, _EVENTS):
                connection.execute(statement, {"job": owner.job_key, "count": rows // 10})
    batches: list[float] = []
    lines = []
    for name, work in (
        ("in batches", lambda: in_batches(engine, batched.job_key, batches)),
        ("in one go", lambda: in_one_go(engine, whole.job_key)),
    ):
        taken, seconds = flushes_beside(engine, work)
        tail = f"p50 {milliseconds(percentile(seconds, 0.5))}"
        tail += f", p99 {milliseconds(percentile(seconds, 0.99))}"
        lines += [
            Line(f"{rows:,} rows, a tenth of that epochs, and events, {name}", f"{taken:.1f} s"),
            Line(f"flushes of another job meanwhile ({len(seconds)})", tail),
        ]
    lines.append(Line("the DELETE itself", milliseconds(batches[0])))
    lines.append(Line("longest transaction in batches", milliseconds(max(batches))))
    return lines


def main() -> int:
    quick = "--quick" in sys.argv
    with tempfile.TemporaryDirectory(prefix="gradbook-bench-") as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres")
        server.start()
        try:
            settings = DatabaseSettings(url=SecretStr(server.url))
            engine = make_engine(settings, application_name="bench")
            migrate(engine)
            lines = measure(engine, QUICK_ROWS if quick else ROWS)
            engine.dispose()
        finally:
            server.stop()
    return publish("Deleting a long job", lines, keep=not quick)


if __name__ == "__main__":
    sys.exit(main())
