"""What training tells the world, and what the world may ask of it.

Deliveries are ordered: the rows up to an epoch's last iteration come before that epoch, a
checkpoint at iteration k after the rows and the metrics up to k, layer readings after their
iteration's row. Metrics may be told before their row: the sink keeps them until it comes.
After the last row of a job that diverged nothing follows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from models.domain.checkpoints import Kept, Resumed
from models.domain.lifecycle import StopReason, Wish
from models.domain.metrics import MetricKind
from models.rows import Rows


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """One attempt at one job, in plain values.

    Args:
        job_id: the job's id, as in its paths.
        spec: the resolved spec; a whole number may stand where a float is meant.
        plan: the plan's JSON; only shown, the trainer counts for itself.
        attempt: the attempt's number, from 1; a part of the path of every file it writes.
        device: "cpu" or "cuda:N", as this process sees its devices.
        artifacts_url: this job's folder, a path or an fsspec URL.
        datasets_folder: where data sets' files are looked for and downloaded to.
        seconds_before: running time of earlier attempts, for `stop.max_seconds`.
        checkpoints: the booked ones to go on from, newest first; none: from iteration 1.
        packages: those whose code the spec may name.

    """

    job_id: str
    spec: dict[str, Any]
    plan: dict[str, Any]
    attempt: int
    device: str
    artifacts_url: str
    datasets_folder: str
    seconds_before: float = 0.0
    checkpoints: tuple[Kept, ...] = ()
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """A training that succeeded.

    `loss_sha256` is None: whoever holds all the rows, of earlier attempts too, computes it.
    """

    stop_reason: StopReason
    iterations: int
    loss_sha256: str | None
    weights_sha256: str | None


class Sink(Protocol):
    """Where training reports to. A method may raise to end the attempt at once."""

    @property
    def waited_seconds(self) -> float:
        """How long training has stood still in all because nobody took what it told."""

    def resumed(self, resumed: Resumed) -> None:
        """Hear where training goes on: once, before any row; earlier rows after it are void."""

    def started(self, environment: dict[str, Any]) -> None:
        """Called once, when data, network and device are ready and nothing was computed yet."""

    def rows(self, rows: Rows) -> None:
        """Take finished iterations (ROW_DTYPE) in order; the array is the receiver's to keep."""

    def metrics(
        self,
        iteration: int,
        values: Mapping[str, float],
        kind: MetricKind = MetricKind.ITERATION,
    ) -> None:
        """Take numbers of the trainer's own, of one iteration, by name.

        Each name is a series whose iterations rise from call to call: one value an iteration,
        none of an earlier one. Not every iteration has to have one. Those of an epoch are told of
        its last iteration, before that epoch is. A job has at most 200 names, each
        `[a-zA-Z_][a-zA-Z0-9_./-]{0,99}`. NaN and the infinities are stored as they are. Plain
        numbers: reading a tensor would wait for its device.

        Raises:
            MetricsBroken: one of this does not hold; none of the call's values is booked.

        """

    def epoch(self, epoch: dict[str, Any]) -> None:
        """Take a finished epoch: the fields of an item of `GET /v1/jobs/{id}/epochs`."""

    def layers(self, iteration: int, readings: list[dict[str, Any]]) -> None:
        """Take one reading a layer, in the network's order."""

    def phase(self, name: str, epoch: int, batch: int) -> None:
        """Hear that training lives and what it does: load, train, evaluate or save.

        `epoch` and `batch` say where the training stands, also while it evaluates or saves.
        """

    def checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take a saved checkpoint: iteration, uri, sha256, bytes.

        Its file is complete and on disk. The trainer never deletes a checkpoint: only the
        supervisor knows when the row that supersedes it was committed, so it removes the files
        that `checkpoint.keep` lets go.
        """

    def artifact(self, artifact: dict[str, Any]) -> None:
        """Take a written artifact: name, kind, uri, sha256, bytes."""

    def summary(self, summary: dict[str, Any]) -> None:
        """Take the job's `summary`, whole, as it is now."""

    def warning(self, message: str, data: dict[str, Any]) -> None:
        """Hear of something that a person should see; training goes on."""


class StopSignal(Protocol):
    """What somebody wants of the job."""

    def wanted(self) -> Wish | None:
        """Answer from memory: it is asked once an iteration."""
