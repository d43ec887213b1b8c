"""The service's loop and a bare one in one process, some epochs of each in turn.

Two processes that do the same differ by a few per cent for as long as they live, by where their
memory happens to lie. A pair of one process has the same memory, and is over in a second or two.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.trainings import Seconds, bare_epoch, timed
from models.domain.lifecycle import Phase, StopReason
from worker.training.loop import Loop
from worker.training.parts import prepare
from worker.training.pulse import Pulse
from worker.training.sink import Ended, Sink, StopSignal, TrainRequest

RESULT = "rounds.json"
EPOCHS_A_TURN = 3
WARM_UP_ROUNDS = 1
WAYS = ("bare", "recorded", "again")
"""In every second round the other way round: so bare and again come first as often as last, and
what is recorded lies between them."""


def alternating(request: TrainRequest, sink: Sink, signal: StopSignal) -> Ended:
    """Train the job as the service does, and beside it the same from scratch, telling nobody.

    The rounds' seconds are left in a file of the job, by way; the first round is not counted.
    """
    pulse = Pulse(sink, signal)
    pulse.enter(Phase.LOAD, 0, 0)
    parts = prepare(request, pulse.beat)
    loop = Loop(request, parts, sink, signal, pulse)
    loop.begin()
    sink.started(parts.environment | {"resumed_at": 0})
    # The bare loop measures what the service does by default, whatever the job asks for.
    plain = request.spec | {"record": {"grad_norm_every": 10, "layers_every": 50}}
    others = prepare(replace(request, spec=plain), pulse.beat)
    others.network.train()
    done = 0

    def bare() -> None:
        nonlocal done
        for _ in range(EPOCHS_A_TURN):
            done += 1
            bare_epoch(others, done)

    turns = {"bare": bare, "recorded": lambda: _go_on(loop), "again": bare}
    rounds = int(parts.spec["epochs"]) // EPOCHS_A_TURN
    seconds = _in_rounds(turns, rounds)
    folder = Path(request.artifacts_url)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULT).write_text(json.dumps(seconds))
    return Ended(loop.state.ending or StopReason.EPOCHS, loop.state.iteration, None, None)


def _in_rounds(turns: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[Seconds]]:
    seconds: dict[str, list[Seconds]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS if number % 2 else reversed(WAYS):
            with timed() as took:
                turns[way]()
            if number >= WARM_UP_ROUNDS:
                seconds[way].append(took)
    return seconds


def _go_on(loop: Loop) -> None:
    """Make the loop's verbs (`worker.training.trainer.run`) until so many epochs are booked."""
    last = loop.state.epoch + EPOCHS_A_TURN
    while True:
        loop.evaluate_if_due()
        if loop.state.epoch == last:
            return
        loop.checkpoint_if_due()
        if loop.stop_if_asked():
            return
        loop.step()
        loop.report()
