"""Cancel and stop: at once where nobody owns the job, else a wish that its next flush reads."""

from uuid import UUID

from sqlalchemy import Connection, func, text, update

from models.domain.errors import MoveForbidden
from models.domain.lifecycle import Outcome, State, StopReason, Wish
from models.tables import attempts, progress
from services.closing import allow_long_statements, close_book, loss_sha256, reached
from services.jobs import find_key
from services.lifecycle import lock_job, move

LOCK_TIMEOUT = "1s"


def cancel(connection: Connection, job_id: UUID) -> None:
    """End a job: a waiting one now, a running one as soon as its attempt hears of it.

    Cancelling a job that is being cancelled changes nothing. Where the lease of a running job
    is over, nobody would hear: it is cancelled here, and a late attempt finds itself fenced.

    Raises:
        JobMissing: there is no such job.
        MoveForbidden: it is finished.

    """
    key, state = lock(connection, job_id)
    match state:
        case State.QUEUED | State.PAUSED:
            _cancel_now(connection, key, state)
        case State.RUNNING if _take_from_the_lost(connection, key):
            _cancel_now(connection, key, state)
        case State.RUNNING:
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


def _wish(connection: Connection, key: int, wish: Wish) -> None:
    """Write down what is wanted; the stronger wish stays, and so does the time of the first."""
    weaker = [Wish.PAUSE, Wish.STOP] if wish is Wish.CANCEL else [Wish.PAUSE]
    connection.execute(
        update(progress)
        .where(
            progress.c.job_key == key,
            progress.c.attempt.is_not(None),
            progress.c.wanted.is_(None) | progress.c.wanted.in_(weaker),
        )
        .values(wanted=wish, wanted_at=func.clock_timestamp())
    )


def _cancel_now(connection: Connection, key: int, state: State) -> None:
    allow_long_statements(connection)
    move(
        connection,
        key,
        from_=state,
        to=State.CANCELLED,
        data={"stop_reason": StopReason.CANCELLED},
        stop_reason=StopReason.CANCELLED,
        loss_sha256=loss_sha256(connection, key),
    )
    close_book(connection, key)


def _take_from_the_lost(connection: Connection, key: int) -> bool:
    """Take a job from an attempt whose lease is over; False where it still holds."""
    taken = connection.execute(
        update(progress)
        .where(
            progress.c.job_key == key,
            progress.c.attempt.is_not(None),
            progress.c.lease_until < func.clock_timestamp(),
        )
        .values(attempt=None, lease_until=None)
    )
    if not taken.rowcount:
        return False
    connection.execute(
        update(attempts)
        .where(attempts.c.job_key == key, attempts.c.ended_at.is_(None))
        .values(ended_at=func.clock_timestamp(), outcome=Outcome.LOST, last_iteration=reached(key))
    )
    return True
