"""Numbers at the edge of what a float holds, through a real training to a verified book."""

from pathlib import Path
from typing import Any

import pytest

from cli.client import Client
from cli.verification import verify_book
from foundation.settings import Settings
from tests.processes import api_process, worker_process
from tests.waiting import wait_until

SPEC: dict[str, Any] = {"dataset": {"name": "digits"}, "network": {"name": "mlp"}, "epochs": 1}
# A NaN that a processor makes need not have the bits of the one that "NaN" is read as.
TO_NAN = {
    "loss": {"name": "mse"},
    "optimizer": {"name": "sgd", "lr": 1000},
    "stop": {"on_non_finite": "continue"},
}
# A database that keeps decimal digits gives this one back without point or exponent.
BEYOND_INTEGERS = {
    "optimizer": {"name": "sgd", "lr": 1e30},
    "stop": {"on_non_finite": "continue"},
}


@pytest.mark.parametrize("changes", [TO_NAN, BEYOND_INTEGERS], ids=["NaN", "1e30"])
def test_a_training_with_numbers_at_the_edge_ends_with_a_book_that_verifies(
    settings: Settings, tmp_path: Path, changes: dict[str, Any]
) -> None:
    with (
        api_process(settings, tmp_path / "api.log") as api,
        worker_process(settings, tmp_path / "worker.log"),
        Client(str(api.base_url)) as client,
    ):
        job_id = client.submit(SPEC | changes)["id"]

        def finished() -> bool:
            return client.job(job_id)["finished_at"] is not None

        wait_until(finished, 60, f"the job ends: see {tmp_path}")
        job = client.job(job_id)
        assert (job["state"], job["error"]) == ("succeeded", None)
        losses = [
            loss for page in client.iterations(job_id, "loss") for loss in page["columns"]["loss"]
        ]
        assert "NaN" in losses
        assert job["book"]["loss_sha256"] is not None
        assert [check.text for check in verify_book(client, job) if not check.right] == []
