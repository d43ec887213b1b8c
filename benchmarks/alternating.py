"""Several loops in one process, some epochs of each in turn: the service's and others.

Two processes that do the same differ by a few per cent for as long as they live, by where their
memory happens to lie. A pair of one process has the same memory, and is over in a second or two.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.plain_loops import Expert, Tutorial
from benchmarks.trainings import Seconds, bare_epoch, begun, timed
from models.domain.lifecycle import StopReason
from worker.training.loop import Loop
from worker.training.parts import Parts, prepare
from worker.training.sink import Ended, Sink, StopSignal, TrainRequest

RESULT = "rounds.json"
EPOCHS_A_TURN = 3
WARM_UP_ROUNDS = 1

Turns = Mapping[str, Callable[[], None]]


def alternating(request: TrainRequest, sink: Sink, signal: StopSignal) -> Ended:
    """Train the job as the service does, and beside it the same from scratch, telling nobody.

    Ways: `bare`, `recorded`, and `again` for the bare one once more. The rounds' seconds are left
    in a file of the job, by way; the first round is not counted.
    """
    # The bare loop measures what the service does by default, whatever the job asks for.
    plain = request.spec | {"record": {"grad_norm_every": 10, "layers_every": 50}}
    others = prepare(replace(request, spec=plain), lambda: None)
    others.network.train()
    done = 0

    def bare() -> None:
        nonlocal done
        for _ in range(EPOCHS_A_TURN):
            done += 1
            bare_epoch(others, done)

    return _in_turns(
        request, sink, signal, lambda go_on: {"bare": bare, "recorded": go_on, "again": bare}
    )


def racing(request: TrainRequest, sink: Sink, signal: StopSignal) -> Ended:
    """Train the job as the service does, beside loops that others would write.

    Ways: `expert`, `service`, `again` for the expert's once more, and `tutorial`.
    """
    expert = Expert(prepare(request, lambda: None))
    tutorial = Tutorial(prepare(request, lambda: None))

    def turn(train: Callable[[], None]) -> Callable[[], None]:
        def epochs() -> None:
            for _ in range(EPOCHS_A_TURN):
                train()

        return epochs

    return _in_turns(
        request,
        sink,
        signal,
        lambda go_on: {
            "expert": turn(expert.epoch),
            "service": go_on,
            "again": turn(expert.epoch),
            "tutorial": turn(tutorial.epoch),
        },
    )


def _in_turns(
    request: TrainRequest,
    sink: Sink,
    signal: StopSignal,
    others: Callable[[Callable[[], None]], Turns],
) -> Ended:
    loop, parts, _ = begun(request, sink, signal)
    turns = others(lambda: _go_on(loop))
    seconds = _in_rounds(turns, parts, int(parts.spec["epochs"]) // EPOCHS_A_TURN)
    folder = Path(request.artifacts_url)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULT).write_text(json.dumps(seconds))
    return Ended(loop.state.ending or StopReason.EPOCHS, loop.state.iteration, None, None)


def _in_rounds(turns: Turns, parts: Parts, rounds: int) -> dict[str, list[Seconds]]:
    """Let each way take its turn, in every second round the other way round.

    So what stands first comes first as often as last.
    """
    ways = list(turns)
    seconds: dict[str, list[Seconds]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in ways if number % 2 else reversed(ways):
            with timed(parts.device) as took:
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
