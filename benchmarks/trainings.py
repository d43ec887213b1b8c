"""Ways to train a job, timed in the trainer's own process: the service's, and a bare one.

The bare loop is what somebody would write in an afternoon: it computes every number that the
service records (each loss and learning rate, how many were right, gradient norms and layer readings
at the same iterations, the test set at each epoch's end) and throws them away, or tells somebody
else's tracker of each iteration.
"""

import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from benchmarks.trackers import Log, start
from models.domain.checkpoints import Resumed
from models.domain.lifecycle import Phase, StopReason
from worker.training.artifacts import Artifacts
from worker.training.epochs import distance, norm
from worker.training.evaluation import evaluate
from worker.training.loop import Loop
from worker.training.order import epoch_order
from worker.training.parts import Parts, prepare
from worker.training.pulse import Pulse
from worker.training.sink import Ended, Sink, StopSignal, TrainRequest
from worker.training.trainer import run

RESULT, ENDING = "timing.json", "ending.json"
"""Files of a job: the seconds of its loop, and those that a tracker took after it."""

Seconds = dict[str, float]
"""`wall` and `cpu`."""


def recorded(request: TrainRequest, sink: Sink, signal: StopSignal) -> Ended:
    """Train as the service does; timed from the first iteration to the last one's delivery."""
    loop, parts, pulse = begun(request, sink, signal)
    with _timed(request):
        reason = run(loop)
    sha256 = Artifacts(parts, loop.store, sink, pulse).leave(loop)
    return Ended(reason, loop.state.iteration, None, sha256)


def begun(request: TrainRequest, sink: Sink, signal: StopSignal) -> tuple[Loop, Parts, Pulse]:
    """Make the service's loop ready for its first iteration."""
    pulse = Pulse(sink, signal)
    pulse.enter(Phase.LOAD, 0, 0)
    parts = prepare(request, pulse.beat)
    loop = Loop(request, parts, sink, signal, pulse)
    loop.begin()
    sink.started(parts.environment | {"resumed_at": 0})
    return loop, parts, pulse


def bare(request: TrainRequest, sink: Sink, signal: StopSignal) -> Ended:
    """Train, and tell nobody."""
    return _alone(request, sink, signal, None)


def tracked(request: TrainRequest, sink: Sink, signal: StopSignal) -> Ended:
    """Train, and tell the tracker that the job's tags name."""
    tracker = start(request.spec["tags"])
    ended = _alone(request, sink, signal, tracker.log)
    with _timed(request, ENDING):
        tracker.finish()
    return ended


def _alone(request: TrainRequest, sink: Sink, signal: StopSignal, log: Log | None) -> Ended:
    pulse = Pulse(sink, signal)
    parts = prepare(request, pulse.beat)
    sink.resumed(Resumed(0, 0, like=True))
    sink.started(parts.environment | {"resumed_at": 0})
    parts.network.train()
    with _timed(request):
        for epoch in range(1, int(parts.spec["epochs"]) + 1):
            bare_epoch(parts, epoch, log)
    return Ended(StopReason.EPOCHS, 0, None, None)


def bare_epoch(parts: Parts, epoch: int, log: Log | None = None) -> None:
    """Train for an epoch, measure all that the service does, and tell nobody, or that tracker."""
    train, size = parts.data.train, parts.batches.size
    order = epoch_order(parts.seed, epoch, len(train))
    parts.augment.begin_epoch(epoch, len(train))
    started = [weight.clone() for weight in parts.parameters()]
    first = (epoch - 1) * parts.batches.per_epoch
    for batch in range(parts.batches.per_epoch):
        start = batch * size
        index = order[start : start + size]
        x = parts.augment(parts.data.normalise(train.images[index]), start)
        learner = parts.learner
        iteration = first + batch + 1
        for group in learner.optimizer.param_groups:
            group["lr"] = parts.rate(iteration)
        learner.optimizer.zero_grad(set_to_none=True)
        layers_due = _due(iteration, parts.spec["record"]["layers_every"])
        if layers_due:
            learner.readings.watch(x)
        output = parts.network(x)
        loss = learner.loss.whole(output, train.labels[index])
        loss.backward()  # type: ignore[no-untyped-call]
        if layers_due:
            learner.readings.after_backward(1.0)
        if _due(iteration, parts.spec["record"]["grad_norm_every"]):
            get_total_norm([p.grad for p in parts.network.parameters() if p.grad is not None])
        right = (output.detach().argmax(dim=1) == train.labels[index]).sum()
        learner.optimizer.step()
        if layers_due:
            learner.readings.after_step()
        if log is not None:
            rate, accuracy = parts.rate(iteration), right.item() / len(index)
            log({"loss": loss.item(), "lr": rate, "accuracy": accuracy}, iteration)
    _judge(parts, started)


def _judge(parts: Parts, started: list[Tensor]) -> None:
    evaluate(
        parts.network,
        parts.data.test,
        parts.learner.loss,
        parts.data.normalise,
        batch_size=parts.evaluation_batch_size,
        alive=lambda: None,
    )
    weights = parts.parameters()
    norm(weights)
    distance(weights, started)


def _due(iteration: int, every: int) -> bool:
    return every > 0 and (iteration == 1 or iteration % every == 0)


@contextmanager
def _timed(request: TrainRequest, name: str = RESULT) -> Iterator[None]:
    """Write down the seconds of the block."""
    with timed(torch.device(request.device)) as took:
        yield
    folder = Path(request.artifacts_url)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(took))


@contextmanager
def timed(device: torch.device) -> Iterator[Seconds]:
    """Measure the wall and CPU seconds of the block, of all of the process's threads."""
    took: Seconds = {}
    _wait_for(device)
    wall, cpu = time.perf_counter(), _cpu_seconds()
    yield took
    _wait_for(device)
    took |= {"wall": time.perf_counter() - wall, "cpu": _cpu_seconds() - cpu}


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
