"""Weights of a job that did not succeed: what they can be made of, and booking them.

Nobody owns a finished job, so there is no fence to write under. Its place takes the job's own
row: locked, still failed or cancelled, and of the same attempt. A retry changes that, a deletion
takes the row away, and both wait for the lock.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, func, select

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


class Ended(NamedTuple):
    """A job that failed or was cancelled by its last attempt, or after it."""

    job_key: int
    job_id: UUID
    attempt: int
    spec: dict[str, Any]
    plan: dict[str, Any]


def find_unsalvaged(connection: Connection, without: Collection[int] = ()) -> list[Ended]:
    """List jobs that have a checkpoint and no weights, and of which nobody has given up yet.

    Args:
        connection: the way to the database.
        without: keys of jobs that are not to be listed; they take no room from others.

    """
    kept = select(checkpoints.c.job_key).where(checkpoints.c.job_key == jobs.c.key)
    recent = func.clock_timestamp() - timedelta(hours=LOOK_BACK_HOURS)
    found = connection.execute(
        select(jobs.c.key, jobs.c.id, jobs.c.attempts_made, jobs.c.spec, jobs.c.plan)
        .where(
            jobs.c.state.in_(_ENDED),
            jobs.c.finished_at > recent,
            jobs.c.key.not_in(without),
            kept.exists(),
            ~_is_settled(),
        )
        .order_by(jobs.c.finished_at)
        .limit(MOST_AT_ONCE)
    )
    return [Ended(*row) for row in found]


def find_kept(connection: Connection, job_key: int, attempt: int) -> list[Kept]:
    """List the checkpoints to make the job's weights of, newest first.

    Empty where there is nothing to do: the attempt did not end the job as failed or cancelled,
    it has booked weights itself, or somebody has given up. Weights of an earlier attempt are
    older than its checkpoints.
    """
    found = connection.execute(
        select(checkpoints.c.iteration, checkpoints.c.uri, checkpoints.c.sha256)
        .join(jobs, jobs.c.key == checkpoints.c.job_key)
        .where(
            jobs.c.key == job_key,
            jobs.c.state.in_(_ENDED),
            jobs.c.attempts_made == attempt,
            ~_is_settled(),
        )
        .order_by(checkpoints.c.iteration.desc(), checkpoints.c.attempt.desc())
    )
    return [Kept(*row) for row in found]


def book_salvaged(
    connection: Connection, job_key: int, attempt: int, made: Sequence[Mapping[str, Any]]
) -> bool:
    """Book what was made; the files' places are this salvage's own.

    Returns:
        Whether the book names them, be it since an earlier call whose answer was lost. False,
        and nothing written: the job has moved on, is gone, or has weights of somebody else's.

    """
    unsettled = _is_unsettled(connection, job_key, attempt)
    mine = artifacts.c.uri.in_([each["uri"] for each in made])
    named = select(artifacts.c.name).where(artifacts.c.job_key == job_key, mine)
    if connection.scalar(select(named.exists())):
        return True
    if unsettled:
        write_artifacts(connection, job_key, attempt, made)
    return unsettled


def warn_of_loss(connection: Connection, job_key: int, attempt: int, reason: str) -> None:
    """Tell in the job's events that no weights can be made, for good.

    Quiet where it has moved on, or somebody else has told so, or made them, meanwhile.
    """
    if _is_unsettled(connection, job_key, attempt):
        data = {"message": _LOSS, "reason": reason}
        add_events(connection, job_key, [Happening("warning", attempt, data)])


def is_gone(connection: Connection, job_key: int) -> bool:
    """Whether the job was deleted; a deletion that is under way is waited for."""
    return lock_job(connection, job_key) is None


def _is_unsettled(connection: Connection, job_key: int, attempt: int) -> bool:
    """Lock the job, and ask whether it still wants weights of this attempt's checkpoints."""
    if lock_job(connection, job_key) not in _ENDED:
        return False
    unsettled = select(jobs.c.key).where(
        jobs.c.key == job_key, jobs.c.attempts_made == attempt, ~_is_settled()
    )
    return connection.scalar(unsettled) is not None


def _is_settled() -> ColumnElement[bool]:
    """Of a job in an enclosing query: its last attempt has weights, or was given up."""
    booked = select(artifacts.c.name).where(
        artifacts.c.job_key == jobs.c.key,
        artifacts.c.attempt == jobs.c.attempts_made,
        artifacts.c.name == WEIGHTS,
    )
    given_up = select(events.c.id).where(
        events.c.job_key == jobs.c.key,
        events.c.type == "warning",
        events.c.attempt == jobs.c.attempts_made,
        events.c.data["message"].astext == _LOSS,
    )
    return booked.exists() | given_up.exists()
