"""A whole run of a million rows over HTTP, as Arrow, NDJSON and Parquet, against COPY TO STDOUT.

All read the same columns of the same job, in turn in one run. COPY, in its text form, is psql's,
which writes to /dev/null; the service streams to a socket here, and the bytes are thrown away.
Memory is the API process's peak, as the kernel keeps it: in long runs over that in short ones.

    .venv/bin/python -m benchmarks.bench_export [--quick]
"""

import re
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

from benchmarks.books import fill, id_of, make_owner
from benchmarks.measuring import Line, asked, conclude, in_pairs, middle, ratios_of
from benchmarks.service import Server, service
from cli.stack.binaries import postgres_programs
from services.iterations import COLUMNS

ROWS, QUICK_ROWS = 1_000_000, 20_000
PAIRS, QUICK_PAIRS = 9, 1
FORMATS = ("arrow", "ndjson", "parquet", "csv")
GOALS = {"arrow": 0.5, "ndjson": 0.2}
# A short run is long enough that everything has its buffers.
SHORT_PART = 5
GROWTH_GOAL_BYTES = 40 * 2**20
PIECE_BYTES = 2**20
END_OF_ANSWER = b"0\r\n\r\n"
PEAK = re.compile(r"VmHWM:\s*(\d+) kB")


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads a job's whole run, and throws it away."""

    server: Server

    def read(self, job: UUID, form: str, coding: str = "identity") -> None:
        """Read it to its end.

        Raises:
            RuntimeError: the answer is no run, or not the whole of it.

        """
        url = urlsplit(self.server.url)
        request = (
            f"GET /v1/jobs/{job}/iterations?format={form} HTTP/1.1\r\nHost: {url.netloc}\r\n"
            f"Accept-Encoding: {coding}\r\nConnection: close\r\n\r\n"
        )
        with socket.create_connection((url.hostname or "", url.port or 0)) as wire:
            wire.sendall(request.encode())
            first = last = wire.recv(PIECE_BYTES)
            while piece := wire.recv(PIECE_BYTES):
                last = last[-len(END_OF_ANSWER) :] + piece
        if not first.startswith(b"HTTP/1.1 200 ") or not last.endswith(END_OF_ANSWER):
            raise RuntimeError(f"no whole run: {first[:200]!r}")

    def peak_bytes(self, job: UUID) -> int:
        """Read it in every format; returns the most memory that the process ever had."""
        for form in FORMATS:
            self.read(job, form)
        return 1024 * int(PEAK.findall(Path(f"/proc/{self.server.pid}/status").read_text())[0])


def measure(rows: int, pairs: int) -> list[Line]:
    with service() as running, running.api() as api:
        long, short = make_owner(running.engine), make_owner(running.engine)
        fill(running.engine, long, rows)
        fill(running.engine, short, rows // SHORT_PART)
        job, little = id_of(running.engine, long), id_of(running.engine, short)
        copy = _copying(running.stack.database_url, long.job_key)
        reader = Reader(api)
        reader.peak_bytes(little)
        usual, most = reader.peak_bytes(little), reader.peak_bytes(job)
        lines = _against_copy(reader, copy, job, rows, pairs)
    growth = most - usual
    figure = f"{growth / 2**20:+.0f} MB on {usual / 2**20:.0f} MB"
    within = growth <= GROWTH_GOAL_BYTES
    goal = f"at most {GROWTH_GOAL_BYTES // 2**20} MB more"
    what = f"memory of the API process, {rows:,} rows over {rows // SHORT_PART:,}"
    return [*lines, Line(what, figure, goal, within)]


def _against_copy(
    reader: Reader, copy: Callable[[], None], job: UUID, rows: int, pairs: int
) -> list[Line]:
    lines = []
    for form in FORMATS:
        ones, others = in_pairs(lambda form=form: reader.read(job, form), copy, pairs)  # type: ignore[misc]
        ratio, goal = ratios_of(others, ones), GOALS.get(form)
        lines += [
            Line(f"{form}, {rows:,} rows", f"{rows / middle(ones):,.0f} rows/s"),
            Line(
                f"{form} over COPY TO STDOUT",
                str(ratio),
                f"at least {goal}" if goal else "",
                ratio.median >= goal if goal else None,
            ),
        ]
    ones, others = in_pairs(copy, copy, pairs)
    plain = Line("COPY TO STDOUT", f"{rows / middle(ones):,.0f} rows/s")
    control = Line("control: COPY over COPY", str(ratios_of(others, ones)))
    zstd, _ = in_pairs(lambda: reader.read(job, "ndjson", "zstd"), copy, max(2, pairs // 3))
    packed = Line("ndjson, compressed by zstd", f"{rows / middle(zstd):,.0f} rows/s")
    return [plain, *lines, packed, control]


def _copying(url: str, job_key: int) -> Callable[[], None]:
    program = str(postgres_programs(18) / "psql")
    statement = (
        f"COPY (SELECT {', '.join(COLUMNS)} FROM iterations WHERE job_key = {job_key:d} "  # noqa: S608 - ours
        "ORDER BY iteration) TO STDOUT"
    )

    def copy() -> None:
        subprocess.run([program, "-qXc", statement, url], stdout=subprocess.DEVNULL, check=True)

    return copy


def main() -> int:
    run = asked(sys.argv)
    rows, pairs = (QUICK_ROWS, QUICK_PAIRS) if run.quick else (ROWS, PAIRS)
    return conclude("Whole runs over HTTP", measure(rows, pairs), run)


if __name__ == "__main__":
    sys.exit(main())
