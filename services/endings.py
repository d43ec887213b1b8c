"""How an attempt ends, in one transaction: its last page, its outcome, and where its job goes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, func, null, select, update

from models.domain.errors import FenceLost
from models.domain.lifecycle import (
    LEFT_OFF,
    STATE_OF_REASON,
    Outcome,
    Phase,
    State,
    StopReason,
    Wish,
    pause_before_retry,
)
from models.tables import attempts, jobs, progress
from services.closing import close_book, loss_sha256, reached
from services.jsonb import storable
from services.lifecycle import lock_job, move
from services.pages import Page
from services.recording import Answer, Owner, flush


@dataclass(frozen=True)
class Ending:
    """How an attempt ended.

    Args:
        outcome: the attempt's.
        stop_reason: the job's; None where another attempt may follow.
        error: type, message and traceback, where there was one.
        exit_code: the trainer's, where it exited.
        signal: the number of the signal that ended the trainer, where one did.
        loss_sha256: of all losses in the book, those of the last page included; None where
            that is not known: then the book is read.
        weights_sha256: of `weights.safetensors`.

    """

    outcome: Outcome
    stop_reason: StopReason | None
    error: Mapping[str, Any] | None = None
    exit_code: int | None = None
    signal: int | None = None
    loss_sha256: str | None = None
    weights_sha256: str | None = None


def end_attempt(connection: Connection, owner: Owner, page: Page, ending: Ending) -> Answer:
    """Write the last page, end the attempt, and move the job to where the ending says.

    Raises:
        FenceLost: the attempt does not own the job any more; nothing is written.

    """
    # In the order of locks: the job first, then its progress.
    if lock_job(connection, owner.job_key) is not State.RUNNING:
        raise FenceLost(owner.job_key, owner.attempt)
    answer = flush(connection, owner, page)
    settle(connection, owner.job_key, owner.attempt, ending, answer.wanted)
    return answer


def settle(
    connection: Connection,
    job_key: int,
    attempt: int,
    ending: Ending,
    wanted: Wish | None,
) -> Ending:
    """End a running job's open attempt, take its fence down, and move the job on.

    Without a reason to stop it goes back to the queue: at once where it was merely left off,
    else after a pause that grows with each failure, and as often as `max_attempts` allows.
    What was wanted while the attempt was ending by itself: a cancel comes too late where the job
    is done, and takes the place of what would have been a failure or another try; a pause takes
    that of the queue; a stop is kept for the attempt that follows.

    The job's row and its progress are locked by the caller.

    Returns:
        The ending as it is booked.

    """
    if wanted is Wish.CANCEL and ending.outcome is not Outcome.SUCCEEDED:
        ending = _cancelled(ending)
    failures = _count(connection, job_key, ending)
    if failures.exhausted:
        ending = replace(ending, stop_reason=StopReason.ATTEMPTS)
    _close_attempt(connection, job_key, attempt, ending)
    if ending.stop_reason is not None:
        _finish(connection, job_key, attempt, ending, ending.stop_reason)
    elif wanted is Wish.PAUSE:
        _pause(connection, job_key, attempt, ending, failures)
    else:
        _requeue(connection, job_key, attempt, ending, failures)
    return ending


@dataclass(frozen=True)
class _Failures:
    """How many attempts have failed, this one included, and what that means."""

    number: int
    counted: bool
    exhausted: bool

    @property
    def pause_seconds(self) -> int:
        return pause_before_retry(self.number) if self.counted else 0


def _count(connection: Connection, job_key: int, ending: Ending) -> _Failures:
    row = connection.execute(
        select(jobs.c.failures, jobs.c.max_attempts).where(jobs.c.key == job_key)
    ).one()
    counted = ending.stop_reason is None and ending.outcome not in LEFT_OFF
    number = row.failures + counted
    return _Failures(number, counted, exhausted=counted and number >= row.max_attempts)


def _cancelled(ending: Ending) -> Ending:
    if ending.outcome is Outcome.LOST:
        return replace(ending, stop_reason=StopReason.CANCELLED)
    return replace(ending, outcome=Outcome.CANCELLED, stop_reason=StopReason.CANCELLED, error=None)


def _close_attempt(connection: Connection, job_key: int, attempt: int, ending: Ending) -> None:
    connection.execute(
        update(attempts)
        .where(attempts.c.job_key == job_key, attempts.c.number == attempt)
        .values(
            ended_at=func.clock_timestamp(),
            outcome=ending.outcome,
            exit_code=ending.exit_code,
            signal=ending.signal,
            error=_stored(ending.error),
            last_iteration=reached(job_key),
            flushes=select(progress.c.flushes)
            .where(progress.c.job_key == job_key)
            .scalar_subquery(),
        )
    )


def _finish(
    connection: Connection, job_key: int, attempt: int, ending: Ending, stop_reason: StopReason
) -> None:
    to = STATE_OF_REASON[stop_reason]
    move(
        connection,
        job_key,
        from_=State.RUNNING,
        to=to,
        attempt=attempt,
        data={"stop_reason": str(stop_reason), "outcome": str(ending.outcome)},
        stop_reason=stop_reason,
        error=_stored(ending.error if to is State.FAILED else None),
        loss_sha256=ending.loss_sha256 or loss_sha256(connection, job_key),
        weights_sha256=ending.weights_sha256,
    )
    _disown(connection, job_key, phase=Phase.DONE)
    close_book(connection, job_key)


def _requeue(
    connection: Connection, job_key: int, attempt: int, ending: Ending, failures: _Failures
) -> None:
    """Accepted work is never lost: what was cut off goes on elsewhere."""
    pause = timedelta(seconds=failures.pause_seconds)
    told = {"failures": failures.number, "retry_in_seconds": failures.pause_seconds}
    move(
        connection,
        job_key,
        from_=State.RUNNING,
        to=State.QUEUED,
        attempt=attempt,
        data={"outcome": str(ending.outcome), **(told if failures.counted else {})},
        failures=failures.number,
        not_before=func.clock_timestamp() + pause if failures.counted else None,
    )
    _disown(connection, job_key, phase=Phase.QUEUED, iterations_per_second=None)


def _pause(
    connection: Connection, job_key: int, attempt: int, ending: Ending, failures: _Failures
) -> None:
    move(
        connection,
        job_key,
        from_=State.RUNNING,
        to=State.PAUSED,
        attempt=attempt,
        data={"outcome": str(ending.outcome)},
        failures=failures.number,
    )
    _disown(
        connection,
        job_key,
        phase=Phase.QUEUED,
        iterations_per_second=None,
        wanted=None,
        wanted_at=None,
    )


def _disown(connection: Connection, job_key: int, **columns: object) -> None:
    connection.execute(
        update(progress)
        .where(progress.c.job_key == job_key)
        .values(attempt=None, lease_until=None, **columns)
    )


def _stored(error: Mapping[str, Any] | None) -> Any:  # noqa: ANN401 - JSON, or SQL's NULL
    return null() if error is None else storable(error)
