"""What people use today, each in an environment of its own, made once and kept for the next run.

They lie in a cache folder of the user's and never in the checkout: `rm -r` it, and the next run
makes them anew. Versions are pinned, so that two runs measure the same programs.
"""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from psycopg import sql

from benchmarks.books import free_port
from benchmarks.service import HOST, Server, serving
from benchmarks.trackers import QUIET
from benchmarks.wire import Wire

MLFLOW = ("mlflow==3.17.0", "psycopg2-binary==2.9.13")
TRACKIO = ("trackio==0.43.0",)
TENSORBOARD = ("tensorboard==2.21.0",)
MOST_METRICS_A_BATCH = 1_000
"""That one call of log-batch takes."""
SETTLE_SECONDS, LOOK_SECONDS, QUIET_SHARE = 120.0, 1.0, 0.1
"""It has settled once it takes less than that share of a core."""
_RUNS = """
    INSERT INTO runs (run_uuid, name, source_type, user_id, status, start_time, end_time,
        lifecycle_stage, artifact_uri, experiment_id)
    SELECT md5(i::text), 'run ' || i, 'LOCAL', 'bench', 'FINISHED', 1767225600000 + i * 60000,
        1767225600000 + i * 60000 + 60000, 'active', '', %(experiment)s
    FROM generate_series(1, %(count)s::bigint) AS i
"""
_RUNS_METRICS = """
    INSERT INTO latest_metrics (run_uuid, key, value, timestamp, step, is_nan)
    SELECT md5(i::text), key, (i * 7919 %% 100003) / 1e5::float8, 1767225600000, 46, false
    FROM generate_series(1, %(count)s::bigint) AS i, unnest(%(metrics)s::text[]) AS key
"""
_RUNS_PARAMS = """
    INSERT INTO params (run_uuid, key, value) SELECT md5(i::text), key, (i %% 1000)::text
    FROM generate_series(1, %(count)s::bigint) AS i, unnest(%(params)s::text[]) AS key
"""


def environment_of(name: str, requirements: Sequence[str]) -> Path:
    """Make a virtual environment with these packages, where it is not there yet.

    Returns:
        Its folder of programs.

    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "gradbook-bench" / name
    stamp = folder / "installed.txt"
    wanted = "\n".join(requirements)
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"Installing {', '.join(requirements)} into {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "-q", "--no-input", *requirements], check=True)
        stamp.write_text(wanted)
    return folder / "bin"


def packages_of(name: str, requirements: Sequence[str]) -> Path:
    """Where that environment keeps its packages; made as `environment_of` does."""
    (packages,) = (environment_of(name, requirements).parent / "lib").glob("python3*/site-packages")
    return packages


@dataclass(frozen=True, slots=True)
class Mlflow:
    """An MLflow tracking server on a database of its own.

    Attributes:
        database_url: that of its store, as libpq reads it.
        start_seconds: from its start until it answers.

    """

    server: Server
    database_url: str
    experiment: str
    start_seconds: float

    def creates_run(self, wire: Wire) -> bytes:
        """Make the request that creates a run, as its own client sends it."""
        body = {
            "experiment_id": self.experiment,
            "user_id": "bench",
            "run_name": f"bench-{secrets.token_hex(4)}",
            "start_time": time.time_ns() // 1_000_000,
            "tags": [{"key": "mlflow.source.type", "value": "LOCAL"}],
        }
        return wire.request("POST", "/api/2.0/mlflow/runs/create", body)

    def new_run(self, wire: Wire) -> str:
        """Create a run; returns its id."""
        made: dict[str, Any] = wire.ask(self.creates_run(wire)).json()
        return str(made["run"]["info"]["run_id"])

    def logs_batch(self, wire: Wire, run: str, values: Sequence[tuple[str, float, int]]) -> bytes:
        """Make the request that logs values: name, number, step; up to MOST_METRICS_A_BATCH."""
        now = time.time_ns() // 1_000_000
        metrics = [
            {"key": name, "value": value, "timestamp": now, "step": step}
            for name, value, step in values
        ]
        return wire.request(
            "POST", "/api/2.0/mlflow/runs/log-batch", {"run_id": run, "metrics": metrics}
        )

    def charts(self, wire: Wire, run: str, name: str, points: int) -> bytes:
        """Make the request by which its web page draws a metric."""
        return wire.request(
            "GET",
            f"/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval?run_ids={run}"
            f"&metric_key={name}&max_results={points}",
        )

    def fill(self, run: str, name: str, count: int) -> None:
        """Put so many values of a metric into its store, by SQL: by its API it takes minutes."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO metrics (run_uuid, key, step, timestamp, value, is_nan)"
                " SELECT %(run)s, %(name)s, step, 1767225600000 + step, 2.3 / sqrt(step), false"
                " FROM generate_series(1, %(count)s) AS step",
                {"run": run, "name": name, "count": count},
            )
            connection.execute("ANALYZE metrics")

    def fill_runs(self, count: int) -> None:
        """Put so many finished runs into its store, by SQL, each with numbers and parameters."""
        parameters = {
            "experiment": int(self.experiment),
            "count": count,
            "metrics": ["best_loss", "train_loss", "train_accuracy"],
            "params": ["lr", "seed", "weight_decay"],
        }
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            for statement in (_RUNS, _RUNS_METRICS, _RUNS_PARAMS):
                connection.execute(statement, parameters)
            connection.execute("ANALYZE")

    def searches(self, wire: Wire, wanted: str, order: str, count: int) -> bytes:
        """Make the request for a page of runs, filtered and ordered."""
        body = {
            "experiment_ids": [self.experiment],
            "filter": wanted,
            "order_by": [order],
            "max_results": count,
        }
        return wire.request("POST", "/api/2.0/mlflow/runs/search", body)


@contextmanager
def mlflow(server_url: str, workers: int) -> Iterator[Mlflow]:
    """Run MLflow's server with so many workers, on a new database of that PostgreSQL.

    PostgreSQL is the faster of the stores that it offers, and the one that ours stands on.
    """
    programs = environment_of("mlflow", MLFLOW)
    name = f"mlflow_{secrets.token_hex(4)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    database_url = server_url.rpartition("/")[0] + f"/{name}"
    port = free_port()
    with TemporaryDirectory(prefix="gradbook-bench-mlflow-") as folder:
        command = [
            str(programs / "mlflow"),
            "server",
            *("--host", HOST),
            *("--port", str(port)),
            *("--workers", str(workers)),
            # As its own images do: by psycopg2.
            *("--backend-store-uri", database_url.replace("://", "+psycopg2://", 1)),
            *("--artifacts-destination", f"{folder}/artifacts"),
        ]
        began = time.perf_counter()
        log = Path(folder) / "log"
        with serving(command, port, log, _quiet(programs, folder), "/health") as server:
            start_seconds = time.perf_counter() - began
            _let_settle(server)
            with Wire(server.url) as wire:
                made = wire.post("/api/2.0/mlflow/experiments/create", {"name": "bench"})
            yield Mlflow(server, database_url, str(made["experiment_id"]), start_seconds)


def _let_settle(server: Server) -> None:
    """Wait until all of its processes have started: it answers as soon as the first one has."""
    deadline = time.monotonic() + SETTLE_SECONDS
    before = server.cpu_seconds()
    while time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        now = server.cpu_seconds()
        # Less than before: a process of it has ended, so it is not done.
        if 0 <= now - before < QUIET_SHARE * LOOK_SECONDS:
            return
        before = now
    raise TimeoutError(f"MLflow's server is busy {SETTLE_SECONDS:.0f} s after its start")


def _quiet(programs: Path, home: str) -> dict[str, str]:
    """An environment in which nothing of ours is found, and nobody is told of the run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {
        "HOME": home,
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}",
        **QUIET,
    }
