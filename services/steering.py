"""Telling a job what to do: at once where nobody owns it, else a wish its next flush reads.

Archiving is a wish that a worker's round reads.
"""

from uuid import UUID

from sqlalchemy import Connection, func, select, text, update

from models.domain.errors import MoveForbidden, RetryFutile, RowsArchived
from models.domain.lifecycle import FINISHED, Phase, State, StopReason, Wish
from models.tables import jobs, progress, summaries
from services.archiving import take_back, want
from services.closing import (
    Hashed,
    allow_long_statements,
    close_book,
    hash_book,
    loss_sha256,
)
from services.jobs import find_key
from services.lifecycle import lock_job, move
from services.reaping import reap

LOCK_TIMEOUT = "1s"
_WEAKER = {Wish.CANCEL: (Wish.STOP, Wish.PAUSE), Wish.STOP: (Wish.PAUSE,), Wish.PAUSE: ()}
_RETRIED = frozenset({State.FAILED, State.CANCELLED})


def cancel(connection: Connection, job_id: UUID) -> None:
    """End a job: a waiting one now, a running one as soon as its attempt hears of it.

    Cancelling a job that is being cancelled changes nothing. Where the lease of a running job
    is over, nobody would hear: it is cancelled here, and a late attempt finds itself fenced.

    Raises:
        JobMissing: there is no such job.
        MoveForbidden: it is finished.

    """
    hashed = _hash_the_unowned(connection, job_id)
    key, state = lock(connection, job_id)
    match state:
        case State.QUEUED | State.PAUSED:
            _cancel_now(connection, key, state, hashed)
        case State.RUNNING:
            if reap(connection, key, wanted=Wish.CANCEL, hashed=hashed) is None:
                _wish(connection, key, Wish.CANCEL)
        case _:
            raise MoveForbidden(str(job_id), state, "cancel")


def stop(connection: Connection, job_id: UUID) -> None:
    """Let a running job end well after its current iteration; one being cancelled stays so.

    Raises:
        JobMissing: there is no such job.
        MoveForbidden: it is not running.

    """
    key, state = lock(connection, job_id)
    if state is not State.RUNNING:
        raise MoveForbidden(str(job_id), state, "stop")
    _wish(connection, key, Wish.STOP)


def pause(connection: Connection, job_id: UUID) -> None:
    """Let a job wait until `resume`: a queued one at once, a running one once it has saved.

    One that is being stopped or cancelled goes on with that.

    Raises:
        JobMissing: there is no such job.
        MoveForbidden: it is paused or finished.

    """
    key, state = lock(connection, job_id)
    match state:
        case State.QUEUED:
            move(connection, key, from_=state, to=State.PAUSED, not_before=None)
        case State.RUNNING:
            _wish(connection, key, Wish.PAUSE)
        case _:
            raise MoveForbidden(str(job_id), state, "pause")


def resume(connection: Connection, job_id: UUID) -> str:
    """Put a paused job back into its queue, whose name is returned.

    Raises:
        JobMissing: there is no such job.
        MoveForbidden: it is not paused.

    """
    key, state = lock(connection, job_id)
    if state is not State.PAUSED:
        raise MoveForbidden(str(job_id), state, "resume")
    move(connection, key, from_=state, to=State.QUEUED)
    return _queue_of(connection, key)


def retry(connection: Connection, job_id: UUID) -> str:
    """Put a failed or cancelled job back into its queue, whose name is returned.

    It goes on from its last good checkpoint, and its failures are counted anew.

    Raises:
        JobMissing: there is no such job.
        MoveForbidden: it is neither failed nor cancelled.
        RetryFutile: it diverged.
        RowsArchived: its rows lie in a file.

    """
    key, state = lock(connection, job_id)
    if state not in _RETRIED:
        raise MoveForbidden(str(job_id), state, "retry")
    reason = connection.scalar(select(jobs.c.stop_reason).where(jobs.c.key == key))
    if reason == StopReason.DIVERGED:
        raise RetryFutile(str(job_id), state)
    if not take_back(connection, key):
        raise RowsArchived(str(job_id), state)
    move(connection, key, from_=state, to=State.QUEUED, failures=0, not_before=None)
    connection.execute(update(progress).where(progress.c.job_key == key).values(phase=Phase.QUEUED))
    connection.execute(update(summaries).where(summaries.c.job_key == key).values(final_loss=None))
    return _queue_of(connection, key)


def archive(connection: Connection, job_id: UUID) -> None:
    """Wish that the rows of a finished job go to a file: a worker sees to it.

    One that is archived, or about to be, stays so.

    Raises:
        JobMissing: there is no such job.
        MoveForbidden: it is not finished.

    """
    key, state = lock(connection, job_id)
    if state not in FINISHED:
        raise MoveForbidden(str(job_id), state, "archive")
    want(connection, key)


def lock(connection: Connection, job_id: UUID) -> tuple[int, State]:
    """Lock a job's row until the transaction ends: its state stays what is returned here.

    Waits for at most one second: a stopped worker may hold it for ever.

    Raises:
        JobMissing: there is no such job.

    """
    key = find_key(connection, job_id)
    connection.execute(
        text("SELECT set_config('lock_timeout', :timeout, true)"), {"timeout": LOCK_TIMEOUT}
    )
    state = lock_job(connection, key)
    if state is None:
        # Deleted between the two statements.
        find_key(connection, job_id)
        raise AssertionError(job_id)
    return key, state


def _queue_of(connection: Connection, key: int) -> str:
    queue: str = connection.execute(select(jobs.c.queue).where(jobs.c.key == key)).scalar_one()
    return queue


def _wish(connection: Connection, key: int, wish: Wish) -> None:
    """Write down what is wanted; the stronger wish stays, and so does the time of the first."""
    weaker = _WEAKER[wish]
    connection.execute(
        update(progress)
        .where(
            progress.c.job_key == key,
            progress.c.attempt.is_not(None),
            progress.c.wanted.is_(None) | progress.c.wanted.in_(weaker),
        )
        .values(wanted=wish, wanted_at=func.clock_timestamp())
    )


def _hash_the_unowned(connection: Connection, job_id: UUID) -> Hashed | None:
    """Hash a job's losses before it is locked, where a cancel will end it here and now."""
    key = find_key(connection, job_id)
    owned = progress.c.lease_until > func.clock_timestamp()
    found = connection.execute(
        select(jobs.c.key)
        .join(progress, progress.c.job_key == jobs.c.key)
        .where(jobs.c.key == key, jobs.c.state.not_in(FINISHED), owned.is_not(True))
    ).one_or_none()
    if found is None:
        return None
    allow_long_statements(connection)
    return hash_book(connection, key)


def _cancel_now(connection: Connection, key: int, state: State, hashed: Hashed | None) -> None:
    allow_long_statements(connection)
    move(
        connection,
        key,
        from_=state,
        to=State.CANCELLED,
        data={"stop_reason": StopReason.CANCELLED},
        stop_reason=StopReason.CANCELLED,
        loss_sha256=loss_sha256(connection, key, hashed),
    )
    close_book(connection, key)
