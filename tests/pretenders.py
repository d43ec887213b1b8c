"""Pretended trainings, for tests of what stands around training: real processes, no tensors."""

import itertools
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from models.domain.checkpoints import Resumed
from models.domain.lifecycle import StopReason, Wish
from models.domain.metrics import MetricKind
from models.rows import ROW_DTYPE, Rows
from worker.backlog import MetricBacklog
from worker.sending import PipeSink
from worker.training.errors import Cancelled, Diverged, OutOfMemory, Suspended
from worker.training.sink import Ended, Sink, StopSignal, TrainRequest
from worker.wire import encode_metrics

BATCHES = 10


def make_rows(first: int, count: int, loss: float | None = None) -> Rows:
    """Rows `first` to `first + count - 1` of epochs of BATCHES batches."""
    rows = np.zeros(count, ROW_DTYPE)
    rows["iteration"] = np.arange(first, first + count)
    rows["epoch"] = (rows["iteration"] - 1) // BATCHES + 1
    rows["batch"] = (rows["iteration"] - 1) % BATCHES + 1
    rows["samples"] = 8
    rows["loss"] = 1 / rows["iteration"] if loss is None else loss
    rows["lr"] = 0.1
    rows["seconds"] = 0.001
    rows["has_grad_norm"] = rows["iteration"] % 3 == 1
    rows["grad_norm"] = np.where(rows["has_grad_norm"], 2.0, 0.0)
    return rows


def epoch_of(number: int) -> dict[str, Any]:
    """An item of the epochs' page, with a loss that is as it should be."""
    first = (number - 1) * BATCHES + 1
    losses = make_rows(first, BATCHES)["loss"]
    return {
        "epoch": number,
        "batches": BATCHES,
        "samples": 8 * BATCHES,
        "first_iteration": first,
        "last_iteration": number * BATCHES,
        "train_loss": float(losses.mean()),
        "train_accuracy": 0.5,
        "val_loss": None,
        "val_accuracy": None,
        "test_loss": math.nan,
        "test_accuracy": 0.25,
        "test_batches": 1,
        "skipped_updates": 0,
        "weight_norm": 1.0,
        "weight_change": 0.1,
        "seconds": 0.01,
        "samples_per_second": 8000.0,
    }


def steady(request: TrainRequest, sink: Sink, signals: StopSignal) -> Ended:
    """Train spec.epochs epochs, or what is left of them; spec.pause_seconds an iteration."""
    print("hello from the trainer")  # noqa: T201 - a trainer's print is a log line
    print("and an error", file=sys.stderr)  # noqa: T201
    sink.phase("load", 0, 0)
    done = resume(request, sink)
    sink.started({"device_name": "test", "precision": "fp32", "threads": 1, "torch": "none"})
    for epoch in range(done // BATCHES + 1, int(request.spec["epochs"]) + 1):
        for _ in range(BATCHES):
            wish = signals.wanted()
            if wish is Wish.CANCEL:
                raise Cancelled(done)
            if wish is Wish.STOP:
                return Ended(StopReason.STOPPED, done, None, "w" * 64)
            if wish is Wish.PAUSE:
                raise Suspended(done)
            time.sleep(float(request.spec["pause_seconds"]))
            done += 1
            sink.rows(make_rows(done, 1))
        sink.layers(done, [reading(0.5), reading(None)])
        sink.epoch(epoch_of(epoch))
        _save(request, sink, done)
    sink.artifact(_file(request, "weights.safetensors", kind="weights"))
    best = {"metric": "train_loss", "value": 0.1, "epoch": 1, "iteration": BATCHES}
    sink.summary({"test_accuracy": 0.75, "best": best})
    return Ended(StopReason.EPOCHS, done, None, "w" * 64)


def deaf(request: TrainRequest, sink: Sink, signals: StopSignal) -> Ended:
    """Deliver one row, then compute one giant iteration that hears nothing."""
    del signals
    resume(request, sink)
    sink.rows(make_rows(1, 1))
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(request.datasets_folder, "grandchild").write_text(str(child.pid))
    time.sleep(600)
    raise AssertionError


def deaf_at_load(request: TrainRequest, sink: Sink, signals: StopSignal) -> Ended:
    del request, signals
    sink.phase("load", 0, 0)
    time.sleep(600)
    raise AssertionError


def killed(request: TrainRequest, sink: Sink, signals: StopSignal) -> Ended:
    """Deliver rows, then die as the kernel's out-of-memory killer makes one die."""
    del signals
    resume(request, sink)
    sink.rows(make_rows(1, 5))
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def segfault(request: TrainRequest, sink: Sink, signals: StopSignal) -> Ended:
    del signals
    resume(request, sink)
    sink.rows(make_rows(1, 2))
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def leaves_without_a_word(request: TrainRequest, sink: Sink, signals: StopSignal) -> Ended:
    del request, sink, signals
    os._exit(3)


def failing(request: TrainRequest, sink: Sink, signals: StopSignal) -> Ended:
    del signals
    resume(request, sink)
    sink.rows(make_rows(1, 3))
    raise RuntimeError("no\x00such thing: " + "x" * 100_000)


def out_of_memory(request: TrainRequest, sink: Sink, signals: StopSignal) -> Ended:
    del sink, signals
    raise OutOfMemory(request.device, "tried to allocate the moon")


def diverging(request: TrainRequest, sink: Sink, signals: StopSignal) -> Ended:
    del signals
    resume(request, sink)
    sink.rows(make_rows(1, 2))
    sink.rows(make_rows(3, 1, loss=math.nan))
    raise Diverged(3, math.nan)


def skipping(request: TrainRequest, sink: Sink, signals: StopSignal) -> Ended:
    """Forget a row: the book must refuse what follows."""
    del signals
    resume(request, sink)
    sink.rows(make_rows(1, 2))
    time.sleep(0.3)
    sink.rows(make_rows(4, 1))
    time.sleep(600)
    raise AssertionError


def endless(request: TrainRequest, sink: Sink, signals: StopSignal) -> Ended:
    """Train until somebody wants something else; a pause saves."""
    for done in itertools.count(resume(request, sink) + 1):
        wish = signals.wanted()
        if wish is Wish.CANCEL:
            raise Cancelled(done - 1)
        if wish is Wish.STOP:
            return Ended(StopReason.STOPPED, done - 1, None, None)
        if wish is Wish.PAUSE:
            if done > 1:
                _save(request, sink, done - 1)
            raise Suspended(done - 1)
        time.sleep(float(request.spec["pause_seconds"]))
        sink.rows(make_rows(done, 1))
    raise AssertionError


def measuring(request: TrainRequest, sink: Sink, signals: StopSignal) -> Ended:
    """Tell numbers of its own; rows come three at a time, after them. It saves where epochs end."""
    done = resume(request, sink)
    for epoch in range(done // BATCHES + 1, int(request.spec["epochs"]) + 1):
        while done < epoch * BATCHES:
            if signals.wanted() is Wish.PAUSE:
                raise Suspended(done)
            first, done = done + 1, min(done + 3, epoch * BATCHES)
            for iteration in range(first, done + 1):
                sink.metrics(iteration, {"tell/tale": math.sqrt(iteration)})
            sink.phase("train", epoch, done % BATCHES)
            sink.rows(make_rows(first, done - first + 1))
            time.sleep(float(request.spec["pause_seconds"]))
        sink.metrics(done, {"epoch.number": float(epoch)}, MetricKind.EPOCH)
        sink.epoch(epoch_of(epoch))
        _save(request, sink, done)
    return Ended(StopReason.EPOCHS, done, None, "w" * 64)


def holding_its_breath(request: TrainRequest, sink: Sink, signals: StopSignal) -> Ended:
    """Wait for some flushes between a metric's frame and the row's, which come as one."""
    del signals
    resume(request, sink)
    assert isinstance(sink, PipeSink)
    backlog = MetricBacklog()
    backlog.add(1, {"early": 0.5}, MetricKind.ITERATION)
    told = backlog.take(1)
    assert told is not None
    for frame in encode_metrics(told):
        sink._pipe.send_bytes(frame)
    time.sleep(1.5)
    if request.spec["epochs"] == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    sink.rows(make_rows(1, 1))
    return Ended(StopReason.EPOCHS, 1, None, None)


def repeating_itself(request: TrainRequest, sink: Sink, signals: StopSignal) -> Ended:
    """Tell a metric of an iteration a second time."""
    del signals
    resume(request, sink)
    for iteration in (1, 2, 2):
        sink.metrics(iteration, {"twice": 1.0})
        sink.rows(make_rows(iteration, 1))
    raise AssertionError


def telling_of_tomorrow(request: TrainRequest, sink: Sink, signals: StopSignal) -> Ended:
    """End without the row of an iteration that it has told a metric of."""
    del signals
    resume(request, sink)
    sink.rows(make_rows(1, 2))
    sink.metrics(2, {"here": 1.0})
    sink.metrics(3, {"nowhere": 1.0})
    return Ended(StopReason.EPOCHS, 2, None, None)


def forgetting_what_it_told(request: TrainRequest, sink: Sink, signals: StopSignal) -> Ended:
    """Go on from the checkpoint, and tell again of the iterations before it."""
    del signals
    done = resume(request, sink)
    sink.rows(make_rows(done + 1, BATCHES))
    sink.metrics(BATCHES, {"epoch.number": 1.0}, MetricKind.EPOCH)
    sink.phase("train", done // BATCHES + 1, BATCHES)
    time.sleep(600)
    raise AssertionError


def resume(request: TrainRequest, sink: Sink) -> int:
    """Go on after the newest checkpoint, whatever its file holds; returns its iteration."""
    done = request.checkpoints[0].iteration if request.checkpoints else 0
    sink.resumed(Resumed(done, done // BATCHES, like=True))
    return done


def reading(norm: float | None) -> dict[str, Any]:
    return {
        "layer": "linear1",
        "kind": "linear",
        "error_norm": 1.5,
        "grad_norm": norm,
        "weight_norm": norm,
        "update_ratio": norm,
    }


def _save(request: TrainRequest, sink: Sink, iteration: int) -> None:
    facts = _file(request, f"checkpoint-{iteration}", kind="checkpoint")
    sink.checkpoint(
        {name: facts[name] for name in ("uri", "sha256", "bytes")} | {"iteration": iteration}
    )


def _file(request: TrainRequest, name: str, *, kind: str) -> dict[str, Any]:
    folder = Path(request.artifacts_url) / str(request.attempt)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(b"weights")
    return {"name": name, "kind": kind, "uri": str(path), "sha256": "0" * 64, "bytes": 7}
