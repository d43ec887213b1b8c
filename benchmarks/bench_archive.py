"""Archiving a long job: what others feel of it, what it saves, and how its rows are read then.

.venv/bin/python -m benchmarks.bench_archive [--quick]
"""

import itertools
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import Engine, text

from benchmarks.bench_deletion import flushes_beside
from benchmarks.books import fill, id_of, make_owner
from benchmarks.measuring import (
    Line,
    asked,
    conclude,
    in_turns,
    milliseconds,
    percentile,
    ratios_of,
)
from cli.stack.postgres import EmbeddedPostgres
from foundation.settings import DatabaseSettings, Settings
from migrations.run import migrate
from models.domain.lifecycle import Outcome, StopReason
from services.archive import Archives
from services.archiving import want
from services.curves import CurveQuery, read_curve
from services.database import make_engine, snapshot, transaction
from services.endings import Ending, end_attempt
from services.iterations import IterationsQuery, read_page
from services.pages import Page
from services.recording import Owner
from worker.archiver import Archiver
from worker.shutdown import Shutdown

ROWS, QUICK_ROWS = 10_000_000, 250_000
READS, QUICK_READS = 200, 10
ALONE_SECONDS, QUICK_ALONE_SECONDS = 20.0, 1.0
PAGE_ROWS = 1_000
WATCH_SECONDS = 0.005
WORKER = "bench-archiver"
_OLDEST = text("""
    SELECT extract(epoch FROM max(clock_timestamp() - xact_start))::double precision
    FROM pg_stat_activity WHERE application_name = :worker
""")
_TABLE_BYTES = text("SELECT pg_total_relation_size('iterations')")
_FILE_BYTES = text("SELECT bytes FROM artifacts WHERE job_key = :key AND kind = 'archive'")


def make_run(engine: Engine, rows: int) -> Owner:
    """Write a job of so many rows, and end it."""
    owner = make_owner(engine)
    fill(engine, owner, rows)
    with transaction(engine) as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        ending = Ending(Outcome.SUCCEEDED, StopReason.EPOCHS)
        end_attempt(connection, owner, Page(), ending)
    return owner


def measure_archiving(engine: Engine, owner: Owner, settings: Settings, alone: float) -> list[Line]:
    """Archive a job as a worker does, while another one flushes in the same process."""
    _, flushes = flushes_beside(engine, lambda: threading.Event().wait(alone))
    lines = [Line(f"flushes of another job alone ({len(flushes)})", tails(flushes))]
    with transaction(engine) as connection:
        want(connection, owner.job_key)
    working = make_engine(settings.database, application_name=WORKER)
    booked = Shutdown(1.0)
    filing = Archiver(working, settings, booked, tell=lambda _: booked.begin())
    removing = Archiver(working, settings, Shutdown(1.0))
    for what, archiver in (
        ("making the file and reading it back", filing),
        ("removing the rows", removing),
    ):
        with longest_transaction(engine) as longest:
            taken, flushes = flushes_beside(engine, archiver.look)
        lines += [
            Line(what, f"{taken:.1f} s"),
            Line(f"{what}: longest transaction", milliseconds(max(longest))),
            Line(f"{what}: flushes of another job ({len(flushes)})", tails(flushes)),
        ]
    working.dispose()
    return lines


@contextmanager
def longest_transaction(engine: Engine) -> Iterator[list[float]]:
    """Put into the list how long the archiver's transactions were open, look by look."""
    done, seen = threading.Event(), [0.0]

    def watch() -> None:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while not done.wait(WATCH_SECONDS):
                seen.append(connection.scalar(_OLDEST, {"worker": WORKER}) or 0.0)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def measure_sizes(engine: Engine, owner: Owner, rows: int, table_bytes: float) -> list[Line]:
    with transaction(engine) as connection:
        stored = connection.execute(_FILE_BYTES, {"key": owner.job_key}).scalar_one()
    return [
        Line("bytes a row in the table, with its index", f"{table_bytes:.1f}"),
        Line("bytes a row in the file", f"{stored / rows:.1f}"),
        Line("the file over the rows in the table", f"{stored / rows / table_bytes:.3f}"),
    ]


def measure_reads(
    engine: Engine, jobs: Mapping[str, UUID], rows: int, reads: int, archives: Archives
) -> list[Line]:
    """Read pages and curves of both jobs in turns, each from a place of its own."""
    step = max(1, rows // reads)

    def page_of(job_id: UUID) -> Callable[[], None]:
        firsts = itertools.cycle(range(1, rows - PAGE_ROWS + 1, step))

        def read() -> None:
            query = IterationsQuery(first=next(firsts))
            with snapshot(engine) as connection:
                read_page(connection, job_id, query, PAGE_ROWS, archives)

        return read

    def curve_of(job_id: UUID) -> Callable[[], None]:
        firsts = itertools.cycle(range(1, rows // 2, step))

        def read() -> None:
            query = CurveQuery(first=next(firsts), last=rows - 7)
            with snapshot(engine) as connection:
                read_curve(connection, job_id, query, archives)

        return read

    works = {
        (name, where): work(job_id)
        for name, work in ((f"a page of {PAGE_ROWS:,} rows", page_of), ("a curve", curve_of))
        for where, job_id in jobs.items()
    }
    taken = in_turns(works, reads)
    lines = []
    for name in dict.fromkeys(name for name, _ in works):
        table, file = taken[name, "table"], taken[name, "file"]
        lines += [Line(f"{name} from the {each}", tails(taken[name, each])) for each in jobs]
        lines.append(Line(f"{name}, the file over the table", str(ratios_of(file, table))))
    return lines


def tails(seconds: Sequence[float]) -> str:
    half, last = (milliseconds(percentile(seconds, share)) for share in (0.5, 0.99))
    return f"p50 {half}, p99 {last}"


def main() -> int:
    run = asked(sys.argv)
    rows, reads, alone = (
        (QUICK_ROWS, QUICK_READS, QUICK_ALONE_SECONDS)
        if run.quick
        else (ROWS, READS, ALONE_SECONDS)
    )
    with tempfile.TemporaryDirectory(prefix="gradbook-bench-") as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres")
        server.start()
        try:
            database = DatabaseSettings(url=SecretStr(server.url))
            settings = Settings(home=Path(folder), database=database)
            engine = make_engine(database, application_name="bench")
            migrate(engine)
            filed, tabled = make_run(engine, rows), make_run(engine, rows)
            with transaction(engine) as connection:
                table_bytes = connection.execute(_TABLE_BYTES).scalar_one() / (2 * rows)
            lines = [Line("rows", f"{rows:,}")]
            lines += measure_archiving(engine, filed, settings, alone)
            lines += measure_sizes(engine, filed, rows, table_bytes)
            jobs = {"table": id_of(engine, tabled), "file": id_of(engine, filed)}
            # As autovacuum will have done by the time that somebody reads.
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM ANALYZE iterations"))
            archives = Archives(settings.artifacts_url)
            lines += measure_reads(engine, jobs, rows, reads, archives)
            engine.dispose()
        finally:
            server.stop()
    return conclude("Archiving a long job", lines, run)


if __name__ == "__main__":
    sys.exit(main())
