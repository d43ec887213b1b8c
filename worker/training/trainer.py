"""Training one job, from its request to its weights; tensors in, reports out."""

from models.domain.lifecycle import Phase, StopReason
from worker.training import memory
from worker.training.artifacts import Artifacts
from worker.training.epochs import summary
from worker.training.loop import Loop
from worker.training.parts import prepare
from worker.training.pulse import Pulse
from worker.training.sink import Ended, Sink, StopSignal, TrainRequest


def train(request: TrainRequest, sink: Sink, signal: StopSignal) -> Ended:
    """Train a job until it is done, or until a rule or a person ends it.

    Args:
        request: what to train, and where its files are.
        sink: told of everything; what it raises ends the training and is passed on.
        signal: asked once an iteration, and often while loading, evaluating and saving.

    Returns:
        How it succeeded; weights, `network.py` and `evaluation.json` are written by then.

    Raises:
        TrainingError: one of its kinds, each with `retryable`; every iteration that was computed
            and may be booked was delivered before.

    """
    with memory.named(request.device):
        return _train(request, sink, signal)


def run(loop: Loop) -> StopReason:
    """Train until the loop says why it is over."""
    while True:
        loop.evaluate_if_due()
        loop.checkpoint_if_due()
        if loop.stop_if_asked():
            return loop.state.ending or StopReason.EPOCHS
        loop.step()
        loop.report()


def _train(request: TrainRequest, sink: Sink, signal: StopSignal) -> Ended:
    pulse = Pulse(sink, signal)
    pulse.enter(Phase.LOAD, 0, 0)
    parts = prepare(request, pulse.beat)
    loop = Loop(request, parts, sink, signal, pulse)
    loop.begin()
    sink.started(parts.environment | {"resumed_at": loop.state.iteration})
    reason = run(loop)
    weights_sha256 = Artifacts(parts, loop.store, sink, pulse).leave(loop)
    sink.summary(summary(parts, loop.state, final=True))
    return Ended(reason, loop.state.iteration, None, weights_sha256)
