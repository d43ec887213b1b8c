"""Calling a program of a team's own, in a trainer's process, and seeing how it comes out."""

import torch

from models.domain.lifecycle import Phase
from worker.program.ledger import Ledger
from worker.program.run import Run
from worker.training import memory
from worker.training.entrypoints import describe, find
from worker.training.environment import describe_environment, kind_of
from worker.training.errors import DeviceMissing
from worker.training.pulse import Pulse
from worker.training.randomness import seed_everything
from worker.training.sink import Ended, Sink, StopSignal, TrainRequest


def run_program(request: TrainRequest, sink: Sink, signal: StopSignal) -> Ended:
    """Call the spec's program, and close its book when it has returned.

    Raises:
        TrainingError: one of its kinds.
        BaseException: whatever the program raises, SystemExit too; what it told is delivered.

    """
    pulse = Pulse(sink, signal)
    pulse.enter(Phase.LOAD, 0, 0)
    spec = request.spec
    device = _device(request.device, int(spec["threads"]))
    main = find(spec["program"]["entrypoint"], request.packages)
    environment = describe_environment(device, "", torch.get_num_threads())
    environment |= {"precision": None, "entrypoints": describe(spec)}
    sink.started(environment)
    seed_everything(int(spec["seed"]))
    ledger = Ledger(request, sink, signal, pulse, kind_of(environment))
    run = Run(request, sink, signal, ledger)
    try:
        with memory.named(request.device):
            main(run, **spec["program"]["options"])
        return run.finish()
    except BaseException:
        ledger.deliver()
        raise


def _device(name: str, threads: int) -> torch.device:
    """The device; how it computes is the program's own business."""
    torch.set_num_threads(threads)
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
            raise DeviceMissing(name)
        torch.cuda.set_device(device)
    return device
