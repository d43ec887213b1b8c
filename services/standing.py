"""Where jobs stand, in as little as one needs to see that something has changed."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, RowMapping, func, select

from models.domain.lifecycle import State
from models.schemas.job import JobProgress, Latest
from models.tables import jobs, progress
from services.job_view import latest_of, progress_of


class Standing(NamedTuple):
    state: State
    epoch: int


class Stand(NamedTuple):
    """Where a job stands, and how far its book is written.

    Args:
        attempt: the one that owns it; None where none does.
        last_event, last_line: the numbers of the newest event and log line.
        rewinds: how often it went back.
        archived: its rows lie in files, or are on their way there.
        at: when this was, by the database's clock.

    """

    job_id: UUID
    key: int
    standing: Standing
    attempt: int | None
    last_event: int
    last_line: int
    iteration: int
    rewinds: int
    archived: bool
    at: datetime
    progress: JobProgress
    latest: Latest | None


# No whole plan: a network's layers are long, and this is asked for many times a second.
_PLAN = func.jsonb_build_object("iterations_total", jobs.c.plan["iterations_total"]).label("plan")


def stands(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Stand]:
    """Look jobs up; those that do not exist are not in the answer."""
    others = (column for column in progress.c if column.name not in {"job_key", "epoch"})
    found = connection.execute(
        select(jobs.c.id, jobs.c.state, progress.c.epoch, jobs.c.key, _PLAN, func.now().label("at"))
        .add_columns(jobs.c.archived_at.is_not(None).label("archived"), *others)
        .join(progress, progress.c.job_key == jobs.c.key)
        .where(jobs.c.id.in_(ids))
    )
    return {
        row["id"]: Stand(
            job_id=row["id"],
            key=row["key"],
            standing=Standing(State(row["state"]), row["epoch"]),
            attempt=row["attempt"],
            last_event=row["last_event"],
            last_line=row["last_line"],
            iteration=row["iteration"],
            rewinds=row["rewinds"],
            archived=row["archived"],
            at=row["at"],
            progress=JobProgress(**progress_of(row)),
            latest=_latest(row),
        )
        for row in found.mappings()
    }


def _latest(row: RowMapping) -> Latest | None:
    shown = latest_of(row)
    return None if shown is None else Latest(**shown)
