"""How an attempt ended, from what is known when its trainer is gone."""

import dataclasses
import signal

import pytest

from models.domain.lifecycle import Outcome, StopReason, Wish
from worker.child import SILENCE_EXIT_CODE
from worker.listening import Why
from worker.verdict import Evidence, judge, refused
from worker.wire import Delivery, Kind

NOTHING = Evidence(
    last_words=None,
    exit_code=0,
    ended_for=None,
    wanted=None,
)
ENDED = Delivery(Kind.ENDED, {"stop_reason": "patience", "weights_sha256": "w"})
CANCELLED = Delivery(
    Kind.FAILED, {"outcome": "cancelled", "stop_reason": "cancelled", "error": {"type": "C"}}
)


def test_a_training_that_says_that_it_is_done_has_succeeded() -> None:
    ending = judge(dataclasses.replace(NOTHING, last_words=ENDED))
    assert (ending.outcome, ending.stop_reason) == (Outcome.SUCCEEDED, StopReason.PATIENCE)
    assert (ending.weights_sha256, ending.exit_code) == ("w", 0)


def test_a_success_stands_even_where_the_worker_leaves() -> None:
    evidence = dataclasses.replace(NOTHING, last_words=ENDED)
    assert judge(evidence).outcome is Outcome.SUCCEEDED


def test_a_failure_carries_the_trainers_own_words() -> None:
    error = {"type": "Diverged", "message": "m", "traceback": "t"}
    words = Delivery(
        Kind.FAILED, {"outcome": "diverged", "stop_reason": "diverged", "error": error}
    )
    ending = judge(dataclasses.replace(NOTHING, last_words=words, exit_code=1))
    assert (ending.outcome, ending.stop_reason) == (Outcome.DIVERGED, StopReason.DIVERGED)
    assert ending.error == error


def test_a_cancel_is_one_only_where_somebody_wanted_it() -> None:
    wanted = dataclasses.replace(NOTHING, last_words=CANCELLED, wanted=Wish.CANCEL)
    assert judge(wanted).stop_reason is StopReason.CANCELLED
    leaving = dataclasses.replace(NOTHING, last_words=CANCELLED)
    assert (judge(leaving).outcome, judge(leaving).stop_reason) == (Outcome.PREEMPTED, None)


@pytest.mark.parametrize(
    ("why", "exit_code", "outcome", "reason"),
    [
        (Why.CANCEL, -9, Outcome.CANCELLED, StopReason.CANCELLED),
        (Why.SHUTDOWN, -9, Outcome.PREEMPTED, None),
        (Why.STALLED, -9, Outcome.STALLED, None),
        (Why.BROKEN, -9, Outcome.ERROR, StopReason.ERROR),
        (None, -9, Outcome.KILLED, None),
        (None, -signal.SIGSEGV, Outcome.ERROR, None),
        (None, 0, Outcome.ERROR, None),
        (None, SILENCE_EXIT_CODE, Outcome.LOST, None),
        (None, None, Outcome.ERROR, None),
    ],
)
def test_a_trainer_that_went_without_a_word(
    why: Why | None,
    exit_code: int | None,
    outcome: Outcome,
    reason: StopReason | None,
) -> None:
    ending = judge(dataclasses.replace(NOTHING, ended_for=why, exit_code=exit_code))
    assert (ending.outcome, ending.stop_reason) == (outcome, reason)
    assert (ending.error is None) == (outcome in {Outcome.CANCELLED, Outcome.PREEMPTED})


def test_a_trainer_that_left_off_is_paused_only_where_somebody_wanted_it() -> None:
    left = Delivery(Kind.FAILED, {"outcome": "preempted", "stop_reason": None, "error": {}})
    wanted = dataclasses.replace(NOTHING, last_words=left, wanted=Wish.PAUSE)
    assert (judge(wanted).outcome, judge(wanted).stop_reason) == (Outcome.PAUSED, None)
    leaving = dataclasses.replace(NOTHING, last_words=left)
    assert (judge(leaving).outcome, judge(leaving).stop_reason) == (Outcome.PREEMPTED, None)


def test_a_bare_kill_is_out_of_memory_only_on_the_kernels_word() -> None:
    killed = dataclasses.replace(NOTHING, exit_code=-9, out_of_memory="the kernel says so")
    assert judge(killed).outcome is Outcome.OUT_OF_MEMORY
    assert "the kernel says so" in (judge(killed).error or {})["message"]
    other = dataclasses.replace(killed, exit_code=-signal.SIGSEGV)
    assert judge(other).outcome is Outcome.ERROR


def test_an_error_that_another_attempt_may_not_meet_ends_no_job() -> None:
    error = {"type": "StoreFailed", "message": "m", "traceback": "t"}
    words = Delivery(Kind.FAILED, {"outcome": "error", "stop_reason": None, "error": error})
    ending = judge(dataclasses.replace(NOTHING, last_words=words, exit_code=1))
    assert (ending.outcome, ending.stop_reason, ending.error) == (Outcome.ERROR, None, error)


def test_a_signal_is_told_apart_from_an_exit_code() -> None:
    killed = judge(dataclasses.replace(NOTHING, exit_code=-9))
    assert (killed.exit_code, killed.signal) == (None, 9)
    left = judge(dataclasses.replace(NOTHING, exit_code=3))
    assert (left.exit_code, left.signal) == (3, None)


def test_what_the_book_refuses_is_the_jobs_error() -> None:
    ending = refused(ValueError("no"), exit_code=None)
    assert ending.outcome is Outcome.ERROR
    assert ending.error == {"type": "ValueError", "message": "no", "traceback": None}
    assert ending.stop_reason is StopReason.ERROR
    assert refused(OSError("no fork"), None, started=False).stop_reason is None
