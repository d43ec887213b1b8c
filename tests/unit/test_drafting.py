"""From deliveries to a page."""

import pytest

from models.domain.lifecycle import Phase
from tests.pretenders import epoch_of, make_rows, reading
from worker.drafting import PACE_SECONDS, Pace, draft
from worker.wire import Delivery, Kind


def rows_delivered(first: int, count: int) -> Delivery:
    return Delivery(Kind.ROWS, {}, make_rows(first, count))


def test_rows_of_several_deliveries_are_one_run_of_rows() -> None:
    page = draft([rows_delivered(1, 4), rows_delivered(5, 9)], [], attempt=1)
    assert page.rows is not None
    assert page.rows["iteration"].tolist() == list(range(1, 14))
    assert (page.phase, page.epoch, page.batch) == (Phase.TRAIN, 2, 3)


def test_the_last_that_was_heard_says_where_training_stands() -> None:
    phase = Delivery(Kind.PHASE, {"name": "evaluate", "epoch": 1, "batch": 10})
    page = draft([rows_delivered(1, 10), phase], [], attempt=1)
    assert (page.phase, page.epoch, page.batch) == (Phase.EVALUATE, 1, 10)
    page = draft([phase, rows_delivered(11, 1)], [], attempt=1)
    assert (page.phase, page.epoch, page.batch) == (Phase.TRAIN, 2, 1)


def test_everything_else_finds_its_place_on_the_page() -> None:
    body = {"iteration": 3, "uri": "file:///c", "sha256": "0", "bytes": 1}
    page = draft(
        [
            Delivery(Kind.HELLO, {"pid": 7}),
            Delivery(Kind.STARTED, {"torch": "2", "threads": 1, "python": "3"}),
            Delivery(Kind.EPOCH, epoch_of(1)),
            Delivery(Kind.LAYERS, {"iteration": 1, "readings": [reading(1.0)]}),
            Delivery(Kind.CHECKPOINT, body),
            Delivery(Kind.ARTIFACT, {"name": "network.py"}),
            Delivery(
                Kind.SUMMARY,
                {
                    "test_loss": 0.5,
                    "best": {"metric": "m", "value": 1.0, "epoch": 1, "iteration": 10},
                },
            ),
            Delivery(Kind.WARNING, {"message": "mind", "data": {}}),
        ],
        [],
        attempt=4,
    )
    assert page.rows is None
    assert page.attempt["pid"] == 7
    assert page.attempt["torch"] == "2"
    assert page.attempt["environment"]["python"] == "3"
    assert [epoch["epoch"] for epoch in page.epochs] == [1]
    assert page.layers[0].iteration == 1
    assert page.checkpoints == [body]
    assert page.artifacts == [{"name": "network.py"}]
    assert page.summary == {
        "test_loss": 0.5,
        "best_metric": "m",
        "best_value": 1.0,
        "best_epoch": 1,
        "best_iteration": 10,
    }
    assert [(each.type, each.attempt) for each in page.happenings] == [("warning", 4)]


def test_the_pace_is_counted_over_the_last_seconds_only() -> None:
    pace = Pace()
    assert pace.mark(100.0, make_rows(1, 1)) == pytest.approx(1000)
    assert pace.mark(101.0, make_rows(2, 10)) == pytest.approx(11 / 1.001)
    later = 101.0 + 2 * PACE_SECONDS
    assert pace.mark(later, make_rows(12, 40)) == pytest.approx(40 / (2 * PACE_SECONDS))
