"""The order of frames in the pipe: a metric comes with the row of its iteration, or after it."""

import threading
from multiprocessing import Pipe

import numpy as np
import pytest

from models.domain.checkpoints import Resumed
from models.domain.metrics import MetricKind, MetricsBroken
from tests.pretenders import epoch_of, make_rows
from worker.sending import PipeSink
from worker.wire import MOST_ROWS_A_FRAME, Delivery, Kind, decode


class Ear:
    """A sink, and what can be heard of it."""

    def __init__(self) -> None:
        self.pipe, pipe = Pipe(duplex=False)
        self.sink = PipeSink(pipe)

    def heard(self) -> list[Delivery]:
        found = []
        while self.pipe.poll():
            found.append(decode(self.pipe.recv_bytes()))
        return found

    def kinds(self) -> list[Kind]:
        return [each.kind for each in self.heard()]


def test_a_metric_comes_just_before_its_row() -> None:
    ear = Ear()
    ear.sink.metrics(1, {"a": 0.5})
    ear.sink.phase("train", 1, 0)
    assert ear.kinds() == [Kind.PHASE]
    ear.sink.rows(make_rows(1, 1))
    first, second = ear.heard()
    assert (first.kind, second.kind) == (Kind.METRICS, Kind.ROWS)
    assert first.metrics is not None
    assert first.metrics.values.tolist() == [(0, 1, 0.5)]
    ear.sink.rows(make_rows(2, 1))
    assert ear.kinds() == [Kind.ROWS]


def test_a_metric_that_is_told_after_its_row_comes_before_whatever_is_next() -> None:
    ear = Ear()
    ear.sink.rows(make_rows(1, 10))
    ear.sink.metrics(10, {"a": 0.5}, MetricKind.EPOCH)
    assert ear.kinds() == [Kind.ROWS]
    ear.sink.epoch(epoch_of(1))
    assert ear.kinds() == [Kind.METRICS, Kind.EPOCH]


def test_where_a_training_goes_on_its_last_iteration_has_a_row() -> None:
    ear = Ear()
    ear.sink.resumed(Resumed(10, 0, like=True))
    ear.sink.metrics(10, {"a": 0.5}, MetricKind.EPOCH)
    ear.sink.epoch(epoch_of(1))
    assert ear.kinds() == [Kind.RESUMED, Kind.METRICS, Kind.EPOCH]


def test_no_frame_of_metrics_is_ahead_of_the_next_frame_of_rows() -> None:
    ear = Ear()
    count = MOST_ROWS_A_FRAME + 5
    for iteration in range(1, count + 2):
        ear.sink.metrics(iteration, {"a": float(iteration)})
    # More than a pipe holds: it is read while it is written.
    heard: list[Delivery] = []
    rows = make_rows(1, count)
    writer = threading.Thread(target=ear.sink.rows, args=(rows,))
    writer.start()
    while len(heard) < 4:
        heard.append(decode(ear.pipe.recv_bytes()))
    writer.join()
    assert [each.kind for each in heard] == [Kind.METRICS, Kind.ROWS, Kind.METRICS, Kind.ROWS]
    told = [each.metrics.values["iteration"] for each in heard if each.metrics is not None]
    booked = [each.rows["iteration"] for each in heard if each.rows is not None]
    assert all(map(np.array_equal, told, booked))
    with pytest.raises(MetricsBroken, match=f"iteration {count + 1}, which has no row"):
        ear.sink.send(Kind.ENDED, {})
    ear.sink.send(Kind.FAILED, {})
    assert ear.kinds() == [Kind.FAILED]
