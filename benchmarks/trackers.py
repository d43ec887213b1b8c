"""Other people's trackers, by their own clients, told of some numbers at each iteration.

They are used in the trainer's process, so that the loop is the bare one with a call more. A client
lies in an environment of its own, whose packages are looked for after ours.
"""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "HF_HUB_OFFLINE": "1"}
"""An environment in which nobody is told of the run."""

Log = Callable[[dict[str, float], int], object]
"""Takes numbers by name, and the iteration that they are of."""


@dataclass(frozen=True, slots=True)
class Tracker:
    """A run that is being tracked; `finish` returns once all of it is where it belongs."""

    log: Log
    finish: Callable[[], object]


def start(tags: Mapping[str, str]) -> Tracker:
    """Start a run of the tracker that a job's tags name.

    Args:
        tags: `tracker`: a name of TRACKERS; `packages`: the folder of its own; `where`: the folder
            or the server to log to.

    """
    sys.path.append(tags["packages"])
    os.environ.update(QUIET)
    return TRACKERS[tags["tracker"]](tags["where"])


def _tensorboard(folder: str) -> Tracker:
    module = importlib.import_module("torch.utils.tensorboard")
    writer = module.SummaryWriter(folder)

    def log(numbers: dict[str, float], iteration: int) -> None:
        for name, value in numbers.items():
            writer.add_scalar(name, value, iteration)

    return Tracker(log, writer.close)


def _trackio(folder: str) -> Tracker:
    os.environ["TRACKIO_DIR"] = folder
    trackio = importlib.import_module("trackio")
    # What it would log of the machine on its own is not asked for of the others either.
    trackio.init(project="bench", embed=False, auto_log_cpu=False, auto_log_gpu=False)
    return Tracker(trackio.log, trackio.finish)


def _mlflow(url: str) -> Tracker:
    mlflow = _begun(url)
    return Tracker(mlflow.log_metrics, mlflow.end_run)


def _mlflow_async(url: str) -> Tracker:
    mlflow = _begun(url)
    mlflow.config.enable_async_logging()

    def finish() -> None:
        mlflow.flush_async_logging()
        mlflow.end_run()

    return Tracker(mlflow.log_metrics, finish)


def _begun(url: str) -> Any:  # noqa: ANN401 - a module of another environment
    mlflow = importlib.import_module("mlflow")
    mlflow.set_tracking_uri(url)
    mlflow.set_experiment("bench")
    mlflow.start_run()
    return mlflow


TRACKERS: dict[str, Callable[[str], Tracker]] = {
    "tensorboard": _tensorboard,
    "trackio": _trackio,
    "mlflow": _mlflow,
    "mlflow async": _mlflow_async,
}
