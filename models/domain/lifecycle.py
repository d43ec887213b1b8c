"""A job's states, the legal moves between them, and the words for how things ended.

MOVES is data: a test holds it to be total, and services/lifecycle.py, the only writer of
`state`, refuses what it does not list.
"""

from enum import StrEnum


class State(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


MOVES: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.PAUSED, State.CANCELLED}),
    State.RUNNING: frozenset(
        {State.SUCCEEDED, State.FAILED, State.CANCELLED, State.PAUSED, State.QUEUED}
    ),
    State.PAUSED: frozenset({State.QUEUED, State.CANCELLED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset({State.QUEUED}),
    State.CANCELLED: frozenset({State.QUEUED}),
}

FINISHED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})


class Wish(StrEnum):
    """What somebody wants of a running job; its trainer is told with the next flush."""

    PAUSE = "pause"
    CANCEL = "cancel"
    STOP = "stop"


class Phase(StrEnum):
    """What an attempt is doing right now."""

    QUEUED = "queued"
    START = "start"
    LOAD = "load"
    TRAIN = "train"
    EVALUATE = "evaluate"
    SAVE = "save"
    DONE = "done"


class StopReason(StrEnum):
    EPOCHS = "epochs"
    TARGET_LOSS = "target_loss"
    PATIENCE = "patience"
    MAX_ITERATIONS = "max_iterations"
    MAX_SECONDS = "max_seconds"
    STOPPED = "stopped"
    RETURNED = "returned"
    CANCELLED = "cancelled"
    DIVERGED = "diverged"
    ERROR = "error"
    ATTEMPTS = "attempts"


STATE_OF_REASON: dict[StopReason, State] = {
    StopReason.EPOCHS: State.SUCCEEDED,
    StopReason.TARGET_LOSS: State.SUCCEEDED,
    StopReason.PATIENCE: State.SUCCEEDED,
    StopReason.MAX_ITERATIONS: State.SUCCEEDED,
    StopReason.MAX_SECONDS: State.SUCCEEDED,
    StopReason.STOPPED: State.SUCCEEDED,
    StopReason.RETURNED: State.SUCCEEDED,
    StopReason.CANCELLED: State.CANCELLED,
    StopReason.DIVERGED: State.FAILED,
    StopReason.ERROR: State.FAILED,
    StopReason.ATTEMPTS: State.FAILED,
}


class Outcome(StrEnum):
    """How one attempt ended."""

    SUCCEEDED = "succeeded"
    CANCELLED = "cancelled"
    PAUSED = "paused"
    PREEMPTED = "preempted"
    LOST = "lost"
    KILLED = "killed"
    OUT_OF_MEMORY = "out_of_memory"
    STALLED = "stalled"
    ERROR = "error"
    DIVERGED = "diverged"


LEFT_OFF = frozenset({Outcome.PAUSED, Outcome.PREEMPTED})
"""Outcomes after which a job goes on as if nothing had been: they count against no limit."""

LONGEST_PAUSE_SECONDS = 60


def pause_before_retry(failures: int) -> int:
    """Seconds until a job is tried again after so many counted failures (1 or more)."""
    return int(min(2**failures, LONGEST_PAUSE_SECONDS))
