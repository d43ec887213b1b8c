"""Reading the fleet, and the projects it works for."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, func, select

from models.domain.errors import CursorInvalid
from models.schemas.catalogue import Project, ProjectList, Worker
from models.tables import attempts, jobs, workers
from services.cursors import decode_cursor, encode_cursor, list_name
from services.fleet import fresh


def list_workers(connection: Connection) -> Sequence[Worker]:
    """List the workers by name, each with the jobs that it runs."""
    running: dict[str, list[UUID]] = defaultdict(list)
    for name, job_id in connection.execute(
        select(attempts.c.worker, jobs.c.id)
        .join(jobs, jobs.c.key == attempts.c.job_key)
        .where(attempts.c.ended_at.is_(None))
        .order_by(attempts.c.slot)
    ):
        running[name].append(job_id)
    rows = connection.execute(_SHOWN).mappings()
    return [Worker(**_shown(row), running=running[row["name"]]) for row in rows]


_SHOWN = select(*(each for each in workers.c if each.name in Worker.model_fields)).order_by(
    workers.c.name
)


def count_workers(connection: Connection) -> int:
    """Count the workers that were seen lately."""
    return connection.execute(select(func.count()).select_from(workers).where(fresh())).scalar_one()


def list_projects(connection: Connection, limit: int, cursor: str | None) -> ProjectList:
    """List the projects that have jobs, by name.

    Raises:
        CursorInvalid: the cursor is not one of this list.

    """
    name = list_name("projects")
    rows = connection.execute(
        select(jobs.c.project.label("name"), func.count().label("jobs"))
        .where(jobs.c.project > _after(name, cursor))
        .group_by(jobs.c.project)
        .order_by(jobs.c.project)
        .limit(limit + 1)
    ).all()
    items = [Project.model_validate(row) for row in rows[:limit]]
    more = len(rows) > limit
    return ProjectList(
        items=items, next_cursor=encode_cursor(name, items[-1].name) if more else None
    )


def _shown(row: RowMapping) -> dict[str, Any]:
    return {name: row[name] for name in Worker.model_fields if name in row}


def _after(name: str, cursor: str | None) -> str:
    if cursor is None:
        return ""
    match decode_cursor(name, cursor):
        case str(project):
            return project
        case _:
            raise CursorInvalid
