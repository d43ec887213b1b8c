"""What a trainer is started with, of all that its worker knows."""

import os
from collections.abc import Sequence
from typing import Any, Protocol
from uuid import UUID

from foundation.settings import Settings
from models.domain.checkpoints import Kept
from services.filestore import folder_of
from worker.child import Orders
from worker.devices import VISIBLE, sight
from worker.training.sink import TrainRequest


class Attempted(Protocol):
    """A job and one of its attempts."""

    @property
    def job_id(self) -> UUID: ...

    @property
    def attempt(self) -> int: ...

    @property
    def spec(self) -> dict[str, Any]: ...

    @property
    def plan(self) -> dict[str, Any]: ...


def make_orders(
    settings: Settings,
    train: str,
    job: Attempted,
    *,
    device: str,
    threads: int,
    checkpoints: Sequence[Kept],
    seconds_before: float = 0.0,
) -> Orders:
    """Put the orders together; the trainer sees its device and none of the house's passwords.

    Args:
        settings: the worker's.
        train: where the training function is, "package.module:function".
        job: what is to be done.
        device: the slot's, "cpu" or "cuda:N".
        threads: CPU threads to compute with.
        checkpoints: what it can go on from, newest first.
        seconds_before: the time that earlier attempts have run.

    """
    seen = sight(device)
    request = TrainRequest(
        job_id=str(job.job_id),
        spec=job.spec,
        plan=job.plan,
        attempt=job.attempt,
        device=seen.device,
        artifacts_url=folder_of(settings.artifacts_url, job.job_id),
        datasets_folder=str(settings.datasets_folder),
        seconds_before=seconds_before,
        checkpoints=tuple(checkpoints),
        packages=settings.entrypoint_packages,
    )
    secrets = {name: None for name in os.environ if name.startswith("GRADBOOK_")}
    environment = {VISIBLE: seen.visible, "OMP_NUM_THREADS": str(threads)}
    return Orders(
        train,
        request,
        threads,
        secrets | environment,
        settings.worker.lease_seconds,
        settings.worker.memory_bytes,
    )
