"""Jobs as they stand: the rows of `jobs`, `progress` and `summaries` together."""

from collections.abc import Collection, Sequence
from enum import StrEnum
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Row,
    RowMapping,
    Select,
    Text,
    Uuid,
    bindparam,
    func,
    literal,
    null,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from models.domain.errors import JobMissing
from models.schemas.job import Job
from models.tables import attempts, jobs, metrics, progress, summaries
from services.job_view import Document, job_document, whole_job
from services.queueing import waits

JobRow = Row[Any]


class Part(StrEnum):
    """What a list leaves out of its items unless `include=` names it."""

    ATTEMPTS = "attempts"
    NETWORK = "plan.network"
    TRACEBACK = "error.traceback"
    METRICS = "metrics"


EVERYTHING = frozenset(Part)


def find_job(connection: Connection, job_id: UUID) -> Job:
    """Read one job with all that belongs to it.

    Needs several statements: give it a snapshot where they have to agree.

    Raises:
        JobMissing: there is no such job.

    """
    found = find_jobs(connection, [job_id])
    if not found:
        raise JobMissing(str(job_id))
    return found[0]


def find_jobs(connection: Connection, ids: Sequence[UUID]) -> list[Job]:
    """Read jobs with all that belongs to them, in the order of their ids."""
    rows = connection.execute(_WHOLE, {"ids": list(ids)}).all()
    place = {job_id: index for index, job_id in enumerate(ids)}
    tries = _attempts_of(connection, rows)
    waiting = waits(connection, rows)
    made = [whole_job(_named(row), tries.get(row.key, []), waiting.get(row.key)) for row in rows]
    return sorted(made, key=lambda job: place[job.id])


def job_items(
    connection: Connection, rows: Sequence[JobRow], parts: Collection[Part]
) -> list[Document]:
    """Make a list's items of its rows, in as many statements as one item needs."""
    tries = _attempts_of(connection, rows) if Part.ATTEMPTS in parts else None
    waiting = waits(connection, rows)
    return [
        job_document(
            _named(row),
            None if tries is None else tries.get(row.key, []),
            waiting.get(row.key),
            with_traceback=Part.TRACEBACK in parts,
        )
        for row in rows
    ]


def find_key(connection: Connection, job_id: UUID) -> int:
    """Look up the number that the job's rows carry.

    Raises:
        JobMissing: there is no such job.

    """
    query = select(jobs.c.key).where(jobs.c.id == job_id)
    key: int | None = connection.execute(query).scalar_one_or_none()
    if key is None:
        raise JobMissing(str(job_id))
    return key


def select_jobs(parts: Collection[Part]) -> Select[Any]:
    """Select what a job's answer is made of; what is left out does not leave the database."""
    return _select(frozenset(parts))


@cache
def _select(parts: frozenset[Part]) -> Select[Any]:
    plan: ColumnElement[Any] = jobs.c.plan
    error: ColumnElement[Any] = jobs.c.error
    if Part.NETWORK not in parts:
        plan = _without(jobs.c.plan, "network")
    if Part.TRACEBACK not in parts:
        error = _without(jobs.c.error, "traceback")
    others = (column for column in jobs.c if column.name not in {"plan", "error"})
    return (
        select(
            *others,
            plan,
            error,
            _metrics() if Part.METRICS in parts else null().label("metrics"),
            *(column for column in progress.c if column.name != "job_key"),
            *(column for column in summaries.c if column.name != "job_key"),
        )
        .join(progress, progress.c.job_key == jobs.c.key)
        .join(summaries, summaries.c.job_key == jobs.c.key)
    )


def _without(column: Column[Any], name: str) -> ColumnElement[Any]:
    return column.op("-", return_type=JSONB())(literal(name, Text)).label(column.name)


def _metrics() -> ColumnElement[Any]:
    """A job's metrics by name; PostgreSQL writes what is not finite as the same words as we."""
    shown = (each for name in ("last", "min", "max", "count") for each in (name, metrics.c[name]))
    of_one = func.json_build_object(*shown, type_=JSON)
    by_name = func.json_object_agg(metrics.c.name, aggregate_order_by(of_one, metrics.c.number))
    return (
        select(func.coalesce(by_name, func.json_build_object(), type_=JSON))
        .where(metrics.c.job_key == jobs.c.key)
        .scalar_subquery()
        .label("metrics")
    )


# Made once: to build one of them by expressions takes longer than the database takes to answer it,
# and clients poll.
_WHOLE = (
    select_jobs(EVERYTHING)
    .where(jobs.c.id == func.any(bindparam("ids", type_=ARRAY(Uuid))))
    .order_by(jobs.c.key)
)
_ATTEMPTS = (
    select(*(column for column in attempts.c if column.name != "environment"))
    .where(attempts.c.job_key == func.any(bindparam("keys", type_=ARRAY(BigInteger))))
    .order_by(attempts.c.number)
)


def _attempts_of(connection: Connection, rows: Sequence[JobRow]) -> dict[int, list[RowMapping]]:
    found: dict[int, list[RowMapping]] = {row.key: [] for row in rows if row.attempts_made}
    if found:
        for attempt in connection.execute(_ATTEMPTS, {"keys": list(found)}).mappings():
            found[attempt["job_key"]].append(attempt)
    return found


def _named(row: JobRow) -> RowMapping:
    """A row's values by name: by attribute each takes five times as long."""
    return row._mapping  # noqa: SLF001 - the public name of a row's columns
