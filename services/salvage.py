"""Weights of a job that did not succeed: what they can be made of, and booking them.

Nobody owns a finished job, so there is no fence to write under. Its place takes the job's own
row: locked, still failed or cancelled, and of the same attempt. A retry changes that, a deletion
takes the row away, and both wait for the lock.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from models.domain.artifacts import WEIGHTS
from models.domain.checkpoints import Kept
from models.domain.lifecycle import State
from models.tables import artifacts, checkpoints, jobs
from services.lifecycle import Happening, add_events, lock_job
from services.recording import write_artifacts

_ENDED = frozenset({State.FAILED, State.CANCELLED})


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
        data = {"message": "no weights could be made of a checkpoint", "reason": reason}
        add_events(connection, job_key, [Happening("warning", attempt, data)])


def is_gone(connection: Connection, job_key: int) -> bool:
    """Whether the job was deleted; a deletion that is under way is waited for."""
    return lock_job(connection, job_key) is None


def _still_ended(connection: Connection, job_key: int, attempt: int) -> bool:
    if lock_job(connection, job_key) not in _ENDED:
        return False
    made = connection.scalar(select(jobs.c.attempts_made).where(jobs.c.key == job_key))
    return bool(made == attempt)
