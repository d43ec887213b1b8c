"""What trackers cost a training: the service, and what people use else, in the same rounds.

All train the same network on the same samples for iterations of about a millisecond. The service
records as it does by default. The others are told of three numbers at each iteration (loss,
learning rate, accuracy), by their own clients in the loop of the bare training; MLflow's server and
TensorBoard's and Trackio's folders are on this machine. A round is one training of each kind; what
is compared is the time an iteration, as some take too long for as many as the rest.

    .venv/bin/python -m benchmarks.bench_trackers [--quick] [--peers]
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks.measuring import Line, asked, conclude, middle, ratios_of
from benchmarks.peers import MLFLOW, TENSORBOARD, TRACKIO, mlflow, packages_of
from benchmarks.service import Service, service
from benchmarks.supervised import ITERATIONS_AN_EPOCH, Timing, Way, settings_of, train
from worker.forkserver import start_forkserver

ROUNDS, QUICK_ROUNDS = 5, 1
EPOCHS, SLOW_EPOCHS = 3, 1
BARE = "bare"


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to train, for so many epochs."""

    way: Way
    epochs: int = EPOCHS

    @property
    def iterations(self) -> int:
        return self.epochs * ITERATIONS_AN_EPOCH


OURS: dict[str, Kind] = {
    BARE: Kind(Way("trainings:bare")),
    "bare again (control)": Kind(Way("trainings:bare")),
    "Gradbook, as by default": Kind(Way("trainings:recorded")),
}


@contextmanager
def others(running: Service) -> Iterator[dict[str, Kind]]:
    """Install what others offer, and start its servers."""
    client = str(packages_of("mlflow", MLFLOW))
    url = running.stack.database_url
    with ExitStack() as stack:
        one, four = (stack.enter_context(mlflow(url, workers)).server.url for workers in (1, 4))

        def kind(tracker: str, packages: str, where: str, epochs: int = EPOCHS) -> Kind:
            tags = {"tracker": tracker, "packages": packages, "where": where}
            return Kind(Way("trainings:tracked", tags=tags), epochs)

        boards, trackio = packages_of("tensorboard", TENSORBOARD), packages_of("trackio", TRACKIO)
        yield {
            _name(TENSORBOARD): kind("tensorboard", str(boards), str(running.home / "tensorboard")),
            _name(TRACKIO): kind("trackio", str(trackio), str(running.home / "trackio")),
            f"{_name(MLFLOW)}, async, one worker": kind("mlflow async", client, one),
            f"{_name(MLFLOW)}, one worker": kind("mlflow", client, one, SLOW_EPOCHS),
            f"{_name(MLFLOW)}, four workers": kind("mlflow", client, four, SLOW_EPOCHS),
        }


def _name(requirements: Sequence[str]) -> str:
    return requirements[0].replace("==", " ")


def measure(running: Service, kinds: Mapping[str, Kind], rounds: int) -> list[Line]:
    settings = settings_of(running)
    timings: dict[str, list[Timing]] = {name: [] for name in kinds}
    names = list(kinds)
    train(running, settings, OURS[BARE].way, 1)
    for number in range(rounds):
        # Each kind comes first as often as last.
        for name in names if number % 2 else reversed(names):
            kind = kinds[name]
            timings[name].append(train(running, settings, kind.way, kind.epochs))
    bare = middle([each.wall for each in timings[BARE]]) / kinds[BARE].iterations
    lines = [
        Line("rounds of one training each", f"{rounds}"),
        Line("an iteration of the bare loop", f"{bare * 1e3:.3f} ms"),
    ]
    for name in names[1:]:
        lines += _lines(name, kinds[name], timings[name], timings[BARE])
    return lines


def _lines(name: str, kind: Kind, ones: list[Timing], bare: list[Timing]) -> list[Line]:
    lines = []
    for what in ("wall", "cpu"):
        ratio = ratios_of(
            [getattr(each, what) / kind.iterations for each in ones],
            [getattr(each, what) / OURS[BARE].iterations for each in bare],
        )
        lines.append(Line(f"{name}: {what} over bare", str(ratio)))
    ending = middle([each.ending for each in ones])
    if kind.way.tags:
        what = f"{name}: after the last of {kind.iterations} iterations"
        lines.append(Line(what, f"{ending:.2f} s more"))
    return lines


def main() -> int:
    run = asked(sys.argv)
    start_forkserver()
    rounds = QUICK_ROUNDS if run.quick else ROUNDS
    with service() as running, ExitStack() as stack:
        kinds = OURS | (stack.enter_context(others(running)) if run.peers else {})
        lines = measure(running, kinds, rounds)
    return conclude("What trackers cost a training", lines, run)


if __name__ == "__main__":
    sys.exit(main())
