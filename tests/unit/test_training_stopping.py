"""Which rule ends a training, and what counts as better."""

import math
from typing import Any

import pytest

from models.domain.lifecycle import StopReason, Wish
from worker.training.state import LoopState
from worker.training.stopping import Monitor, Rules, make_monitor


def rules(monitor: Monitor | None = None, epochs: int = 10, **given: Any) -> Rules:  # noqa: ANN401 - fields of stop
    options = {
        "target_loss": None,
        "target_on": "train_loss",
        "patience_epochs": None,
        "min_delta": 0.0,
        "max_iterations": None,
        "max_seconds": None,
        **given,
    }
    return Rules(options, epochs, monitor or Monitor("train_loss", rising=False))


def ends(judge: Rules, values: list[float | None]) -> tuple[int, StopReason | None]:
    """Return the epoch that ended a training with these metrics, and why."""
    state = LoopState()
    for epoch, value in enumerate(values, start=1):
        state.epoch = epoch
        measured = {judge.monitor.metric: value}
        judge.note(state, measured)
        reason = judge.after_epoch(state, measured)
        if reason is not None:
            return epoch, reason
    return len(values), None


def test_patience_counts_epochs_without_an_improvement() -> None:
    assert ends(rules(patience_epochs=2), [1.0, 0.9, 0.95, 0.9]) == (4, StopReason.PATIENCE)


def test_an_improvement_not_above_min_delta_is_none() -> None:
    judge = rules(patience_epochs=2, min_delta=0.1)
    assert ends(judge, [1.0, 0.95, 0.91]) == (3, StopReason.PATIENCE)


def test_small_improvements_add_up_to_one_above_min_delta() -> None:
    assert ends(rules(patience_epochs=2, min_delta=0.1), [1.0, 0.95, 0.89])[1] is None


def test_a_rising_metric_improves_upwards() -> None:
    judge = rules(Monitor("val_accuracy", rising=True), patience_epochs=1)
    assert ends(judge, [0.5, 0.6, 0.55]) == (3, StopReason.PATIENCE)


def test_an_epoch_that_was_not_measured_cannot_end_by_patience() -> None:
    judge = rules(Monitor("val_loss", rising=False), patience_epochs=2)
    assert ends(judge, [1.0, None, None, 1.0]) == (4, StopReason.PATIENCE)


def test_nan_is_never_an_improvement() -> None:
    assert ends(rules(patience_epochs=2), [math.nan, math.nan]) == (2, StopReason.PATIENCE)


def test_the_target_is_reached_at_or_below() -> None:
    assert ends(rules(target_loss=0.5), [0.6, 0.5]) == (2, StopReason.TARGET_LOSS)


def test_a_target_on_the_last_epoch_is_the_reason() -> None:
    assert ends(rules(epochs=2, target_loss=0.5), [0.6, 0.5]) == (2, StopReason.TARGET_LOSS)


def test_the_last_epoch_ends_it() -> None:
    assert ends(rules(epochs=3), [3.0, 2.0, 1.0]) == (3, StopReason.EPOCHS)


@pytest.mark.parametrize(
    ("given", "loss", "seconds", "wish", "reason"),
    [
        ({"max_iterations": 5}, None, 0.0, None, StopReason.MAX_ITERATIONS),
        ({"max_iterations": 6}, None, 0.0, None, None),
        ({"max_seconds": 2.0}, None, 2.0, None, StopReason.MAX_SECONDS),
        ({}, None, 0.0, Wish.STOP, StopReason.STOPPED),
        ({"target_loss": 0.5}, 0.5, 0.0, None, StopReason.TARGET_LOSS),
        ({"target_loss": 0.5}, math.nan, 0.0, None, None),
        ({"target_loss": 0.5}, None, 0.0, None, None),
    ],
)
def test_rules_after_an_iteration(
    given: dict[str, Any],
    loss: float | None,
    seconds: float,
    wish: Wish | None,
    reason: StopReason | None,
) -> None:
    state = LoopState(iteration=5)
    assert rules(**given).after_iteration(state, loss, seconds, wish) is reason


def test_the_monitor_resolves_auto() -> None:
    auto = {"metric": "auto", "mode": "auto"}
    assert make_monitor(auto, validated=True) == Monitor("val_loss", rising=False)
    assert make_monitor(auto, validated=False) == Monitor("train_loss", rising=False)
    accuracy = {"metric": "val_accuracy", "mode": "auto"}
    assert make_monitor(accuracy, validated=True).rising


def test_the_best_epoch_is_remembered_whatever_min_delta_is() -> None:
    judge = rules(min_delta=0.5)
    state = LoopState()
    for epoch, value in enumerate([1.0, 0.9, 0.95], start=1):
        state.epoch, state.iteration = epoch, epoch * 10
        judge.note(state, {"train_loss": value})
    assert state.best is not None
    assert (state.best.value, state.best.epoch, state.best.iteration) == (0.9, 2, 20)
