"""How an attempt ends: the last flush, the move and the attempt's end in one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, null, update

from models.domain.errors import FenceLost
from models.domain.lifecycle import STATE_OF_REASON, Outcome, Phase, State, StopReason, Wish
from models.tables import attempts, progress
from services.closing import close_book, loss_sha256, reached
from services.jsonb import storable
from services.lifecycle import lock_job, move
from services.recording import Answer, Owner, Page, flush
from services.rewinding import rewind


@dataclass(frozen=True)
class Ending:
    """How an attempt ended.

    Args:
        outcome: the attempt's.
        stop_reason: the job's; None where the job goes back into the queue.
        error: type, message and traceback, where there was one.
        exit_code: the trainer's, where it exited.
        signal: the number of the signal that ended the trainer, where one did.
        loss_sha256: of the losses that the attempt's flushes have written, this one included;
            None where the attempt can't tell: then the book is read.
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

    A cancel that was written while the attempt was ending by itself comes too late where the
    job is done, and takes the place of what would have been a failure or another try.

    Raises:
        FenceLost: the attempt does not own the job any more; nothing is written.

    """
    # In the order of locks: the job first, then its progress.
    if lock_job(connection, owner.job_key) is not State.RUNNING:
        raise FenceLost(owner.job_key, owner.attempt)
    answer = flush(connection, owner, page)
    ending = _cancelled(ending) if _cancel_wins(answer, ending) else ending
    _close_attempt(connection, owner, ending)
    if ending.stop_reason is None:
        superseded = _requeue(connection, owner, ending)
        return Answer(
            answer.wanted, answer.wanted_seconds, answer.transaction, answer.superseded + superseded
        )
    _finish(connection, owner, ending, ending.stop_reason)
    return answer


def _cancel_wins(answer: Answer, ending: Ending) -> bool:
    return answer.wanted is Wish.CANCEL and ending.outcome is not Outcome.SUCCEEDED


def _cancelled(ending: Ending) -> Ending:
    return Ending(
        outcome=Outcome.CANCELLED,
        stop_reason=StopReason.CANCELLED,
        exit_code=ending.exit_code,
        signal=ending.signal,
        loss_sha256=ending.loss_sha256,
    )


def _close_attempt(connection: Connection, owner: Owner, ending: Ending) -> None:
    connection.execute(
        update(attempts)
        .where(attempts.c.job_key == owner.job_key, attempts.c.number == owner.attempt)
        .values(
            ended_at=func.clock_timestamp(),
            outcome=ending.outcome,
            exit_code=ending.exit_code,
            signal=ending.signal,
            last_iteration=reached(owner.job_key),
        )
    )


def _finish(connection: Connection, owner: Owner, ending: Ending, stop_reason: StopReason) -> None:
    data = {"stop_reason": str(stop_reason), "outcome": str(ending.outcome)}
    move(
        connection,
        owner.job_key,
        from_=State.RUNNING,
        to=STATE_OF_REASON[stop_reason],
        attempt=owner.attempt,
        data=data,
        stop_reason=stop_reason,
        error=null() if ending.error is None else storable(ending.error),
        loss_sha256=ending.loss_sha256 or loss_sha256(connection, owner.job_key),
        weights_sha256=ending.weights_sha256,
    )
    _disown(connection, owner, phase=Phase.DONE)
    close_book(connection, owner.job_key)


def _requeue(connection: Connection, owner: Owner, ending: Ending) -> tuple[str, ...]:
    """Accepted work is never lost: what a worker's shutdown cuts off starts again elsewhere."""
    superseded = rewind(connection, owner.job_key, owner.attempt, to_iteration=0)
    move(
        connection,
        owner.job_key,
        from_=State.RUNNING,
        to=State.QUEUED,
        attempt=owner.attempt,
        data={"outcome": str(ending.outcome)},
    )
    _disown(connection, owner, phase=Phase.QUEUED)
    return superseded


def _disown(connection: Connection, owner: Owner, **columns: object) -> None:
    connection.execute(
        update(progress)
        .where(progress.c.job_key == owner.job_key)
        .values(attempt=None, lease_until=None, **columns)
    )
