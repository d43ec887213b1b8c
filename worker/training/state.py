"""Where a training stands: all that the loop remembers, and what a checkpoint holds of it.

Weights, optimizer, loss scaler and random states are kept beside it by checkpoint.py. The
order of samples, augmentation and learning rates are pure functions of these counters.
"""

import math
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from models.domain.lifecycle import StopReason


class Spent(StrEnum):
    """What an epoch's time goes into; the first four are parts of an iteration."""

    DATA = "data"
    FORWARD = "forward"
    BACKWARD = "backward"
    UPDATE = "update"
    WAITING = "waiting"
    EVALUATION = "evaluation"
    CHECKPOINT = "checkpoint"


@dataclass(slots=True)
class EpochSums:
    """Running sums over the epoch's delivered rows, added one row after the other.

    `spent` holds seconds by `Spent`; `sampled` of the batches were taken apart.
    """

    loss: float = 0.0
    correct: int = 0
    samples: int = 0
    batches: int = 0
    skipped: int = 0
    seconds: float = 0.0
    spent: dict[str, float] = field(default_factory=dict)
    sampled: int = 0

    def spend(self, part: Spent, seconds: float) -> None:
        # A name, not the enum: a checkpoint holds nothing but plain values.
        self.spent[part.value] = self.spent.get(part, 0.0) + seconds

    def spent_on(self, part: Spent) -> float | None:
        """Return the seconds of all of the epoch's batches; None where none was taken apart."""
        seconds = self.spent.get(part, 0.0)
        if part not in _OF_A_SAMPLE:
            return seconds
        return seconds * self.batches / self.sampled if self.sampled else None

    @property
    def train_loss(self) -> float:
        return self.loss / self.samples if self.samples else math.nan

    @property
    def train_accuracy(self) -> float:
        return self.correct / self.samples if self.samples else math.nan


_OF_A_SAMPLE = frozenset({Spent.DATA, Spent.FORWARD, Spent.BACKWARD, Spent.UPDATE})


@dataclass(slots=True)
class Best:
    """The best epoch so far by the monitored metric."""

    value: float
    epoch: int
    iteration: int


@dataclass(slots=True)
class LoopState:
    """The loop's memory.

    `iteration` counts finished weight updates; `epoch` (from 1) and `batch` (finished batches of
    it) say where the next one stands. `lost_in_a_row` counts the newest iterations whose loss is
    not finite and whose update was skipped. `ailing` is health.py's. `mixed`: not all of it was
    computed on like machines. `ending` is why training is to end; None: it goes on.
    """

    iteration: int = 0
    epoch: int = 1
    batch: int = 0
    sums: EpochSums = field(default_factory=EpochSums)
    last_loss: float | None = None
    best: Best | None = None
    best_loss: float | None = None
    patience_value: float | None = None
    patience_epoch: int = 0
    measured: dict[str, float | None] = field(default_factory=dict)
    lost_in_a_row: int = 0
    warned_non_finite: bool = False
    ailing: dict[str, int] = field(default_factory=dict)
    mixed: bool = False
    ending: StopReason | None = None

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain values, for a file that is loaded with weights_only."""
        return asdict(self) | {"ending": None if self.ending is None else str(self.ending)}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "LoopState":
        # A checkpoint of an earlier release lacks what came later.
        values = {item.name: plain[item.name] for item in fields(cls) if item.name in plain}
        values["sums"] = EpochSums(**plain["sums"])
        values["best"] = None if plain["best"] is None else Best(**plain["best"])
        values["measured"] = dict(plain["measured"])
        values["ailing"] = dict(plain.get("ailing", {}))
        values["ending"] = None if plain["ending"] is None else StopReason(plain["ending"])
        return cls(**values)
