"""Weights of a job that did not succeed: what they can be made of, and booking them.

Nobody owns a finished job, so there is no fence to write under. Its place takes the job's own
row: locked, still failed or cancelled, and of the same attempt. A retry changes that, a deletion
takes the row away, and both wait for the lock.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, func, select

from models.domain.artifacts import WEIGHTS
from models.domain.checkpoints import Kept
from models.domain.lifecycle import State
from models.tables import artifacts, checkpoints, events, jobs
from services.lifecycle import Happening, add_events, lock_job
from services.recording import write_artifacts

_ENDED = frozenset({State.FAILED, State.CANCELLED})
_LOSS = "no weights could be made of a checkpoint"

LOOK_BACK_HOURS = 24
"""A job that ended longer ago is left as it is: no worker was there to make its files."""
MOST_AT_ONCE = 10

# Beside a job's key it makes the number of an advisory lock: only one worker makes its files.
_ADVISORY_LOCK = 1 << 62


class Ended(NamedTuple):
    """A job that failed or was cancelled by its last attempt, or after it."""

    job_key: int
    job_id: UUID
    attempt: int
    spec: dict[str, Any]
    plan: dict[str, Any]


def find_unsalvaged(connection: Connection) -> list[Ended]:
    """List jobs that have a checkpoint and no weights, and of which nobody has given up yet."""
    mine = jobs.c.key
    kept = select(checkpoints.c.job_key).where(checkpoints.c.job_key == mine)
    booked = select(artifacts.c.name).where(
        artifacts.c.job_key == mine,
        artifacts.c.attempt == jobs.c.attempts_made,
        artifacts.c.name == WEIGHTS,
    )
    given_up = select(events.c.id).where(
        events.c.job_key == mine,
        events.c.type == "warning",
        events.c.attempt == jobs.c.attempts_made,
        events.c.data["message"].astext == _LOSS,
    )
    recent = func.clock_timestamp() - timedelta(hours=LOOK_BACK_HOURS)
    found = connection.execute(
        select(jobs.c.key, jobs.c.id, jobs.c.attempts_made, jobs.c.spec, jobs.c.plan)
        .where(
            jobs.c.state.in_(_ENDED),
            jobs.c.finished_at > recent,
            kept.exists(),
            ~booked.exists(),
            ~given_up.exists(),
        )
        .order_by(jobs.c.finished_at)
        .limit(MOST_AT_ONCE)
    )
    return [Ended(*row) for row in found]


def hold(connection: Connection, job_key: int) -> bool:
    """Take the salvage of a job for this session, until `let_go`; False where another has it."""
    lock = func.pg_try_advisory_lock(_ADVISORY_LOCK | job_key)
    return bool(connection.scalar(select(lock)))


def let_go(connection: Connection, job_key: int) -> None:
    connection.execute(select(func.pg_advisory_unlock(_ADVISORY_LOCK | job_key)))


def find_kept(connection: Connection, job_key: int, attempt: int) -> list[Kept]:
    """List the checkpoints to make the job's weights of, newest first.

    Empty where there is nothing to do: the attempt did not end the job as failed or cancelled,
    or it has booked weights itself. Weights of an earlier attempt are older than its checkpoints.
    """
    booked = select(artifacts.c.name).where(
        artifacts.c.job_key == job_key, artifacts.c.attempt == attempt, artifacts.c.name == WEIGHTS
    )
    found = connection.execute(
        select(checkpoints.c.iteration, checkpoints.c.uri, checkpoints.c.sha256)
        .join(jobs, jobs.c.key == checkpoints.c.job_key)
        .where(
            jobs.c.key == job_key,
            jobs.c.state.in_(_ENDED),
            jobs.c.attempts_made == attempt,
            ~booked.exists(),
        )
        .order_by(checkpoints.c.iteration.desc(), checkpoints.c.attempt.desc())
    )
    return [Kept(*row) for row in found]


def book_salvaged(
    connection: Connection, job_key: int, attempt: int, made: Sequence[Mapping[str, Any]]
) -> bool:
    """Book what was made; False, and nothing written, where the job has moved on or is gone."""
    if not _still_ended(connection, job_key, attempt):
        return False
    write_artifacts(connection, job_key, attempt, made)
    return True


def warn_of_loss(connection: Connection, job_key: int, attempt: int, reason: str) -> None:
    """Tell in the job's events that no weights could be made; quiet where it has moved on."""
    if _still_ended(connection, job_key, attempt):
        data = {"message": _LOSS, "reason": reason}
        add_events(connection, job_key, [Happening("warning", attempt, data)])


def is_gone(connection: Connection, job_key: int) -> bool:
    """Whether the job was deleted; a deletion that is under way is waited for."""
    return lock_job(connection, job_key) is None


def _still_ended(connection: Connection, job_key: int, attempt: int) -> bool:
    if lock_job(connection, job_key) not in _ENDED:
        return False
    made = connection.scalar(select(jobs.c.attempts_made).where(jobs.c.key == job_key))
    return bool(made == attempt)
