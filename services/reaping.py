"""Jobs whose attempt has fallen silent go back to the queue: no zombie stays `running`.

An outage must not look like the death of every worker. So whoever calls this has reached the
database without a break for a lease period (worker/reaper.py), the server runs for longer than
one, and an attempt that comes back in time renews its lease under the same lock.
"""

from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select, text, true
from sqlalchemy import exc as database_errors

from models.domain.lifecycle import Outcome, State, Wish
from models.tables import attempts, jobs, progress, workers
from services.closing import Hashed, allow_long_statements, hash_book, loss_sha256
from services.endings import Ending, settle
from services.lifecycle import lock_job

LOCK_TIMEOUT = "1s"
WORKER_SESSION = "gradbook worker"
"""The name under which workers' sessions stand in pg_stat_activity."""
MOST_AT_ONCE = 100


class Silent(NamedTuple):
    """A running job whose lease is over."""

    job_key: int
    job_id: UUID
    attempt: int


def find_silent(connection: Connection, lease_seconds: float) -> list[Silent]:
    """List running jobs whose lease is over; none while the server has just started."""
    lease = timedelta(seconds=lease_seconds)
    up_long_enough = func.pg_postmaster_start_time() < func.clock_timestamp() - lease
    found = connection.execute(
        select(jobs.c.key, jobs.c.id, progress.c.attempt)
        .join(progress, progress.c.job_key == jobs.c.key)
        .where(jobs.c.state == State.RUNNING, _lease_is_over(), up_long_enough)
        .order_by(progress.c.lease_until)
        .limit(MOST_AT_ONCE)
    )
    return [Silent(*row) for row in found]


def hash_where_it_ends(connection: Connection, job_key: int) -> Hashed | None:
    """Hash a silent job's losses before anything is locked, where its reaping will end it."""
    ends = or_(jobs.c.failures + 1 >= jobs.c.max_attempts, progress.c.wanted == Wish.CANCEL)
    found = connection.execute(
        select(jobs.c.key)
        .join(progress, progress.c.job_key == jobs.c.key)
        .where(jobs.c.key == job_key, ends)
    ).one_or_none()
    return None if found is None else hash_book(connection, job_key)


def reap(
    connection: Connection,
    job_key: int,
    *,
    attempt: int | None = None,
    wanted: Wish | None = None,
    hashed: Hashed | None = None,
) -> Ending | None:
    """End the silent attempt of a job as `lost`, and move the job on.

    Args:
        connection: the transaction.
        job_key: the job.
        attempt: the attempt that was found silent; None for whichever is.
        wanted: what somebody wants of it now, beside what is written down already.
        hashed: its losses, as `hash_where_it_ends` found them.

    Returns:
        How it was ended; None where it has come back, or somebody else was faster.

    Raises:
        sqlalchemy.exc.OperationalError: a session holds the job's rows: see `is_held`, and
            `free` may end it.

    """
    connection.execute(
        text("SELECT set_config('lock_timeout', :timeout, true)"), {"timeout": LOCK_TIMEOUT}
    )
    if lock_job(connection, job_key) is not State.RUNNING:
        return None
    found = connection.execute(
        select(
            progress.c.attempt,
            progress.c.wanted,
            func.extract("epoch", func.clock_timestamp() - progress.c.lease_until).label("over"),
        )
        .where(
            progress.c.job_key == job_key,
            _lease_is_over(),
            true() if attempt is None else progress.c.attempt == attempt,
        )
        .with_for_update(key_share=True)
    ).one_or_none()
    if found is None:
        return None
    allow_long_statements(connection)
    message = _evidence(connection, job_key, found.attempt, float(found.over))
    error = {"type": "Lost", "message": message, "traceback": None}
    sha256 = hashed and loss_sha256(connection, job_key, hashed)
    ending = Ending(Outcome.LOST, None, error=error, loss_sha256=sha256)
    wanted = wanted or (found.wanted and Wish(found.wanted))
    return settle(connection, job_key, found.attempt, ending, wanted)


def is_held(error: database_errors.OperationalError) -> bool:
    """Whether a statement failed because another session holds its rows."""
    return getattr(error.orig, "sqlstate", None) == "55P03"


def free(connection: Connection, silent: Silent, lease_seconds: float) -> bool:
    """End the worker's session that holds a job, where its client is silent for a lease period.

    A worker that was stopped in the middle of a COPY keeps its rows locked, and no time-out of
    the server's frees them. Which session it is stands on the row itself: the transaction that
    has changed it last. (The attempt's own row may still name the session before, where this one
    is not committed yet.) A session that computes is let be; none of ours waits in one statement
    for its client for so long, since a flush writes a bounded number of rows.
    """
    session = text(
        "SELECT pg_terminate_backend(activity.pid) FROM pg_stat_activity AS activity"
        " JOIN progress ON progress.xmax = activity.backend_xid"
        " WHERE progress.job_key = :job_key AND activity.application_name = :worker"
        " AND activity.wait_event_type = 'Client'"
        " AND activity.state_change < clock_timestamp() - :lease"
    )
    values = {
        "job_key": silent.job_key,
        "worker": WORKER_SESSION,
        "lease": timedelta(seconds=lease_seconds),
    }
    return bool(connection.scalar(session, values))


def _lease_is_over() -> ColumnElement[bool]:
    return and_(progress.c.attempt.is_not(None), progress.c.lease_until < func.clock_timestamp())


def _evidence(connection: Connection, job_key: int, attempt: int, over_seconds: float) -> str:
    """What is known of the worker: a sentence for the attempt's error."""
    row: Row[Any] = connection.execute(
        select(
            attempts.c.worker,
            attempts.c.host,
            func.extract("epoch", func.clock_timestamp() - workers.c.last_seen).label("seen"),
        )
        .outerjoin(workers, workers.c.name == attempts.c.worker)
        .where(attempts.c.job_key == job_key, attempts.c.number == attempt)
    ).one()
    seen = "is not in the fleet any more"
    if row.seen is not None:
        seen = f"was last seen {float(row.seen):.1f} s ago"
    return (
        f"its lease was over for {over_seconds:.1f} s without a flush; "
        f"worker {row.worker} on {row.host} {seen}"
    )
