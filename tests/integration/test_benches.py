"""The benches run: quickly, and without other people's programs, which would have to be fetched."""

import subprocess
import sys

import pytest

from tests.architecture.sources import ROOT
from tests.versions import on_newest_postgres

pytestmark = on_newest_postgres

SECONDS = 240


@pytest.mark.parametrize(
    ("bench", "said"),
    [
        ("bench_archive", "| the file over the rows in the table | "),
        ("bench_curve", "| time a point, "),
        ("bench_deletion", "| longest transaction in batches | "),
        ("bench_export", "| arrow over COPY TO STDOUT | "),
        ("bench_first_row", "| POST to the first row queryable | "),
        ("bench_flush", "| flush over bare COPY, 200 rows | "),
        ("bench_list", "| of a project, best first, 8 clients, 2 API processes | "),
        ("bench_overhead", "| every row is in the book | true | true | reached |"),
        ("bench_poll", "| the same, 2 API processes | "),
        ("bench_submit", "| promised and not in the book | 0 | 0 | reached |"),
        ("bench_trackers", "| Gradbook, as by default: wall over bare | "),
        ("bench_training", "samples/s over the tutorial's | "),
        ("bench_viewers", "1 API process: from flush to receipt | p50 "),
        ("simulate_fleet", " jobs, epochs, readings | 0 | 0 | reached |"),
    ],
)
@pytest.mark.timeout(SECONDS)
def test_a_quick_run_measures_and_publishes_nothing(bench: str, said: str) -> None:
    results = ROOT / "benchmarks" / "RESULTS.md"
    before = results.read_bytes() if results.exists() else None
    ran = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{bench}", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert said in ran.stdout
    assert (results.read_bytes() if results.exists() else None) == before
