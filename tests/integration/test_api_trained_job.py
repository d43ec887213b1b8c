"""A real job, trained by a real worker and read over HTTP: what its book and its files hold."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from foundation.settings import Settings
from tests.integration.test_training_leavings import accuracy_alone
from tests.processes import api_process, worker_process
from tests.waiting import wait_until

TRAINING_SECONDS = 120
SPEC: dict[str, Any] = {
    "dataset": {"name": "digits", "train_samples": 600, "validation": 100},
    "network": {"name": "small_cnn"},
    "batch_size": 32,
    "epochs": 2,
    "optimizer": {"name": "adamw", "lr": 0.005},
    "record": {"grad_norm_every": 5, "layers_every": 8},
    "checkpoint": {"every_seconds": 0.1},
}
BATCHES = 16
ITERATIONS = 2 * BATCHES


@contextmanager
def trained_job(settings: Settings, folder: Path) -> Iterator[tuple[httpx.Client, dict[str, Any]]]:
    """Train a job to its end; yields a client and the job."""
    with (
        api_process(settings, folder / "api.log") as api,
        worker_process(settings, folder / "worker.log"),
    ):
        posted = api.post("/v1/jobs", json=SPEC)
        assert posted.status_code == httpx.codes.CREATED, posted.text
        path = posted.headers["location"]

        def finished() -> dict[str, Any] | None:
            job: dict[str, Any] = api.get(path).json()
            return job if job["finished_at"] else None

        job = wait_until(finished, TRAINING_SECONDS, f"the job ends: see {folder}")
        assert job["state"] == "succeeded", job["error"]
        yield api, job


@pytest.mark.timeout(300)
def test_a_trained_job_can_be_read_to_the_last_byte(settings: Settings, tmp_path: Path) -> None:
    with trained_job(settings, tmp_path) as (api, job):
        path = f"/v1/jobs/{job['id']}"
        check_rows(api, path, job)
        check_epochs(api, path, job)
        check_layers(api, path, job)
        check_events(api, path)
        check_environment(api, path, job)
        folder = tmp_path / "fetched"
        fetch_all(api, path, folder)
    weights = (folder / "weights.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == job["book"]["weights_sha256"]
    # Far from the project's own files, with nothing but what was fetched.
    measured = accuracy_alone(folder, 8, "weights.safetensors", tmp_path)
    assert measured == job["summary"]["test_accuracy"]
    evaluation = json.loads((folder / "evaluation.json").read_text())
    best = accuracy_alone(folder, 8, "weights_best.safetensors", tmp_path)
    assert best == evaluation["best"]["accuracy"]


def check_rows(api: httpx.Client, path: str, job: dict[str, Any]) -> None:
    page = api.get(f"{path}/iterations").json()
    columns = page["columns"]
    assert page["total"] == ITERATIONS == job["plan"]["iterations_total"]
    assert columns["iteration"] == list(range(1, ITERATIONS + 1))
    assert columns["epoch"] == [1] * BATCHES + [2] * BATCHES
    assert columns["samples"] == ([32] * 15 + [20]) * 2
    measured = [at for at, norm in enumerate(columns["grad_norm"], 1) if norm is not None]
    assert measured == [1, *range(5, ITERATIONS + 1, 5)]
    losses = np.array(columns["loss"], dtype="<f8")
    assert hashlib.sha256(losses.tobytes()).hexdigest() == job["book"]["loss_sha256"]
    assert losses[-1] == job["summary"]["final_loss"]


def check_epochs(api: httpx.Client, path: str, job: dict[str, Any]) -> None:
    first, second = api.get(f"{path}/epochs").json()["items"]
    assert (first["first_iteration"], first["last_iteration"]) == (1, BATCHES)
    assert (second["batches"], second["samples"]) == (BATCHES, 500)
    assert second["weight_change"] > 0
    assert second["val_loss"] == job["summary"]["val_loss"]


def check_layers(api: httpx.Client, path: str, job: dict[str, Any]) -> None:
    page = api.get(f"{path}/layers").json()
    columns = page["columns"]
    planned = [layer["name"] for layer in job["plan"]["network"]["layers"]]
    assert page["every"] == 8
    assert columns["iteration"] == [at for at in (1, 8, 16, 24, 32) for _ in planned]
    assert columns["layer"] == planned * 5
    shares = np.array(columns["error_share"]).reshape(5, len(planned))
    assert np.allclose(shares.sum(axis=1), 1)
    pools = [at for at, kind in enumerate(columns["kind"]) if kind == "max_pool"]
    assert [columns["weight_norm"][at] for at in pools] == [None] * 10


def check_events(api: httpx.Client, path: str) -> None:
    items = api.get(f"{path}/events").json()["items"]
    assert [item["id"] for item in items] == list(range(1, len(items) + 1))
    moves = [item["data"]["to"] for item in items if item["type"] == "state"]
    assert moves == ["queued", "running", "succeeded"]
    assert [item["data"]["epoch"] for item in items if item["type"] == "epoch"] == [1, 2]


def check_environment(api: httpx.Client, path: str, job: dict[str, Any]) -> None:
    (entry,) = api.get(f"{path}/artifacts/environment.json").json()
    (attempt,) = job["attempts"]
    assert entry["attempt"] == attempt["number"] == 1
    assert entry["torch"] == attempt["torch"]


def fetch_all(api: httpx.Client, path: str, folder: Path) -> None:
    """Fetch every file of the job, each held against its hash."""
    folder.mkdir()
    for item in api.get(f"{path}/artifacts").json()["items"]:
        content = api.get(f"{path}/artifacts/{item['name']}").content
        assert len(content) == item["bytes"]
        assert hashlib.sha256(content).hexdigest() == item["sha256"]
        (folder / item["name"]).write_bytes(content)
    names = {file.name for file in folder.iterdir()}
    assert names >= {
        "weights.safetensors",
        "weights_best.safetensors",
        "network.py",
        "evaluation.json",
        "environment.json",
    }
    assert any(name.startswith("checkpoint-") for name in names)
