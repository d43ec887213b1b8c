"""How an attempt ended, from what its trainer said last and how its process went."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.domain.lifecycle import Outcome, StopReason, Wish
from services.endings import Ending
from worker.child import SILENCE_EXIT_CODE
from worker.listening import Why
from worker.wire import Delivery, Kind

MOST_CHARACTERS = 16_000


@dataclass(frozen=True)
class Evidence:
    """What is known when a trainer is gone.

    Args:
        last_words: its last delivery, where it came to one.
        exit_code: of its process, negative where a signal ended it.
        ended_for: why the supervisor ended it, where it did.
        wanted: what the trainer was told that somebody wants.
        out_of_memory: what speaks for the kernel having ended it for want of memory.

    """

    last_words: Delivery | None
    exit_code: int | None
    ended_for: Why | None
    wanted: Wish | None
    out_of_memory: str | None = None


def judge(evidence: Evidence) -> Ending:
    """Name the outcome, and what it means for the job."""
    words = evidence.last_words
    if words is None:
        return _without_a_word(evidence)
    if words.kind is Kind.ENDED:
        return _ending(
            evidence,
            Outcome.SUCCEEDED,
            StopReason(words.body["stop_reason"]),
            weights_sha256=words.body.get("weights_sha256"),
        )
    outcome = Outcome(words.body["outcome"])
    if outcome in {Outcome.CANCELLED, Outcome.PREEMPTED}:
        return _left_off(evidence)
    reason = words.body["stop_reason"]
    return _ending(evidence, outcome, reason and StopReason(reason), error=words.body["error"])


def refused(error: Exception, exit_code: int | None, *, started: bool = True) -> Ending:
    """The book refused what was delivered, or nothing could start: booked as the job's error.

    A trainer that did not start may do so another time, or on another worker.
    """
    return Ending(
        outcome=Outcome.ERROR,
        stop_reason=StopReason.ERROR if started else None,
        error=_error(type(error).__name__, str(error)[:MOST_CHARACTERS]),
        **_went(exit_code),
    )


def _left_off(evidence: Evidence) -> Ending:
    """It left off because somebody wanted it, or because the worker leaves."""
    if evidence.wanted is Wish.CANCEL or evidence.ended_for is Why.CANCEL:
        return _ending(evidence, Outcome.CANCELLED, StopReason.CANCELLED)
    if evidence.wanted is Wish.PAUSE:
        return _ending(evidence, Outcome.PAUSED, None)
    return _ending(evidence, Outcome.PREEMPTED, None)


def _without_a_word(evidence: Evidence) -> Ending:
    if evidence.ended_for is Why.CANCEL:
        return _left_off(evidence)
    if evidence.ended_for is Why.SHUTDOWN:
        return _ending(evidence, Outcome.PREEMPTED, None)
    if evidence.ended_for is Why.STALLED:
        error = _error("Stalled", "the trainer reported no progress for too long and was ended")
        return _ending(evidence, Outcome.STALLED, None, error=error)
    if evidence.ended_for is Why.STOP:
        error = _error("StopIgnored", "the program went on after a stop for too long and was ended")
        return _ending(evidence, Outcome.ERROR, StopReason.ERROR, error=error)
    if evidence.ended_for is Why.BROKEN:
        error = _error("FrameBroken", "what the trainer sent could not be understood")
        return _ending(evidence, Outcome.ERROR, StopReason.ERROR, error=error)
    return _died(evidence)


def _died(evidence: Evidence) -> Ending:
    code = evidence.exit_code
    if code == -signal.SIGKILL and evidence.out_of_memory is not None:
        error = _error("OutOfMemory", f"the kernel ended the trainer: {evidence.out_of_memory}")
        return _ending(evidence, Outcome.OUT_OF_MEMORY, None, error=error)
    if code == -signal.SIGKILL:
        error = _error("Killed", "the trainer was ended by SIGKILL; nothing says by whom or why")
        return _ending(evidence, Outcome.KILLED, None, error=error)
    if code == SILENCE_EXIT_CODE:
        error = _error("Lost", "the trainer left: its supervisor was silent for a lease period")
        return _ending(evidence, Outcome.LOST, None, error=error)
    if code is not None and code < 0:
        error = _error("Crashed", f"the trainer was ended by {signal.Signals(-code).name}")
    else:
        error = _error("Crashed", f"the trainer left with exit code {code} and without a word")
    # A crash of the interpreter or of a library: no spec has the words for that.
    return _ending(evidence, Outcome.ERROR, None, error=error)


def _ending(
    evidence: Evidence,
    outcome: Outcome,
    reason: StopReason | None,
    *,
    error: Mapping[str, Any] | None = None,
    weights_sha256: str | None = None,
) -> Ending:
    return Ending(
        outcome=outcome,
        stop_reason=reason,
        error=error,
        weights_sha256=weights_sha256,
        **_went(evidence.exit_code),
    )


def _went(code: int | None) -> dict[str, Any]:
    """How the process went: it left with a code, or a signal ended it."""
    if code is None:
        return {}
    return {"exit_code": code} if code >= 0 else {"signal": -code}


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"type": kind, "message": message, "traceback": None}
