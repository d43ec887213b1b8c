"""Where jobs stand, in as little as one needs to see that something has changed."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, select

from models.domain.lifecycle import State
from models.tables import jobs, progress


class Standing(NamedTuple):
    state: State
    epoch: int


def standings(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Standing]:
    """Look jobs up; those that do not exist are not in the answer."""
    found = connection.execute(
        select(jobs.c.id, jobs.c.state, progress.c.epoch)
        .join(progress, progress.c.job_key == jobs.c.key)
        .where(jobs.c.id.in_(ids))
    )
    return {job_id: Standing(State(state), epoch) for job_id, state, epoch in found}
