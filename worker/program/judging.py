"""Which of a program's epochs was best: by `val_loss` where it tells one, else by `train_loss`."""

import math

from worker.training.state import Best, LoopState
from worker.training.stopping import Measurements, Monitor


def judge(state: LoopState, measured: Measurements) -> None:
    """Remember what was measured last, and what was best."""
    before = best_by(state)
    state.measured |= measured
    metric = best_by(state)
    if metric != before:
        # Two metrics can't be compared.
        state.best = None
    loss = measured.get("train_loss")
    if loss is not None and loss < (math.inf if state.best_loss is None else state.best_loss):
        state.best_loss = loss
    value = measured.get(metric)
    best = state.best.value if state.best else None
    if value is not None and Monitor(metric, rising=False).better(value, best):
        state.best = Best(value, state.epoch, state.iteration)


def best_by(state: LoopState) -> str:
    return "train_loss" if state.measured.get("val_loss") is None else "val_loss"
