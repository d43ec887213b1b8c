"""DELETE /v1/jobs/{id}."""

from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, func, select

from foundation.ids import new_id
from foundation.settings import Settings
from models.tables import metadata
from services.database import transaction
from services.recording import LayerReading, LogLine, Page
from tests.submitted import Crew, Json, submit
from tests.written import make_rows

NORMS = {"error_norm": 1.0, "grad_norm": 1.0, "weight_norm": 1.0, "update_ratio": 1.0}
EPOCH = {
    "epoch": 1,
    "batches": 2,
    "samples": 128,
    "first_iteration": 1,
    "last_iteration": 2,
    "skipped_updates": 0,
    "seconds": 0.1,
    "train_loss": 1.0,
}
FILE = {"uri": "file", "sha256": "0" * 64, "bytes": 1}


def counts(engine: Engine) -> dict[str, int]:
    """How many rows each table of jobs holds."""
    with transaction(engine) as connection:
        return {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in metadata.tables.items()
            if name != "workers"
        }


def worked_on(api: httpx.Client, engine: Engine, settings: Settings) -> tuple[Json, Path]:
    """Make a finished job with at least a row in every table, and a folder of files."""
    job = submit(api)
    crew = Crew(engine)
    crew.claim()
    page = Page(
        rows=make_rows([1.0, 0.5]),
        epochs=[EPOCH],
        layers=[LayerReading(1, [NORMS])],
        checkpoints=[{"iteration": 2, **FILE}],
        artifacts=[{"name": "weights.safetensors", "kind": "weights", **FILE}],
        logs=[LogLine("stdout", "hello")],
    )
    crew.flush(job["id"], page)
    crew.end(job["id"])
    folder = Path(settings.artifacts_url) / job["id"]
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "weights.safetensors").write_bytes(b"w")
    return job, folder


def test_all_that_belongs_to_the_job_goes_and_nothing_else(
    api: httpx.Client, engine: Engine, settings: Settings
) -> None:
    job, folder = worked_on(api, engine, settings)
    kept = counts(engine)
    assert all(kept.values()), kept
    _, kept_folder = worked_on(api, engine, settings)
    answer = api.delete(f"/v1/jobs/{job['id']}")
    assert (answer.status_code, answer.content) == (httpx.codes.NO_CONTENT, b"")
    assert counts(engine) == kept
    assert not folder.exists()
    assert kept_folder.is_dir()
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/iterations")):
        gone = api.request(method, f"/v1/jobs/{job['id']}{path}")
        assert gone.status_code == httpx.codes.NOT_FOUND


@pytest.mark.parametrize("running", [False, True])
def test_a_job_that_is_not_finished_stays(
    api: httpx.Client, engine: Engine, *, running: bool
) -> None:
    job_id = submit(api)["id"]
    if running:
        Crew(engine).claim()
    answer = api.delete(f"/v1/jobs/{job_id}")
    assert answer.status_code == httpx.codes.CONFLICT
    assert ("running" if running else "queued") in answer.json()["detail"]
    assert api.get(f"/v1/jobs/{job_id}").status_code == httpx.codes.OK


def test_a_cancelled_job_without_files_can_go(api: httpx.Client) -> None:
    job_id = submit(api)["id"]
    api.post(f"/v1/jobs/{job_id}/cancel")
    assert api.delete(f"/v1/jobs/{job_id}").status_code == httpx.codes.NO_CONTENT


def test_a_parent_can_go_before_its_child(api: httpx.Client) -> None:
    parent = submit(api)["id"]
    child = submit(api, parent=parent)["id"]
    api.post(f"/v1/jobs/{parent}/cancel")
    assert api.delete(f"/v1/jobs/{parent}").status_code == httpx.codes.NO_CONTENT
    assert api.get(f"/v1/jobs/{child}").json()["parent"] == parent


def test_a_job_that_never_was_is_missing(api: httpx.Client) -> None:
    assert api.delete(f"/v1/jobs/{new_id()}").status_code == httpx.codes.NOT_FOUND
