"""Jobs for tests of the queue and the book: inserted as submit does, with a spec of the test's."""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, insert, select

from foundation.ids import new_id
from models.tables import attempts, events, jobs, progress, summaries
from services.database import transaction
from services.lifecycle import Happening, add_events


def book_job(
    connection: Connection, *, queue: str = "default", priority: int = 0, **spec: object
) -> int:
    """Insert a queued job; returns its key."""
    spec = {
        "device": "auto",
        "epochs": 2,
        "pause_seconds": 0.0,
        "threads": 1,
        "max_attempts": 3,
        "checkpoint": {"keep": 2},
        "deterministic": True,
        **spec,
    }
    key: int = connection.execute(
        insert(jobs)
        .values(
            id=new_id(),
            name="",
            project="default",
            queue=queue,
            notes="",
            tags={},
            priority=priority,
            max_attempts=spec["max_attempts"],
            device=spec["device"],
            spec=spec,
            spec_sha256="0" * 64,
            plan={"iterations_total": 20},
            reproducible=True,
        )
        .returning(jobs.c.key)
    ).scalar_one()
    connection.execute(insert(progress).values(job_key=key))
    connection.execute(insert(summaries).values(job_key=key))
    add_events(connection, key, [Happening("state", None, {"from": None, "to": "queued"})])
    return key


def job_of(engine: Engine, key: int) -> Row[Any]:
    """The job, its progress and its summary as one row."""
    with transaction(engine) as connection:
        return connection.execute(
            select(
                jobs,
                *(column for column in progress.c if column.name != "job_key"),
                *(column for column in summaries.c if column.name != "job_key"),
            )
            .join(progress, progress.c.job_key == jobs.c.key)
            .join(summaries, summaries.c.job_key == jobs.c.key)
            .where(jobs.c.key == key)
        ).one()


def attempts_of(engine: Engine, key: int) -> list[Row[Any]]:
    with transaction(engine) as connection:
        return list(
            connection.execute(
                select(attempts).where(attempts.c.job_key == key).order_by(attempts.c.number)
            )
        )


def events_of(engine: Engine, key: int) -> list[Row[Any]]:
    with transaction(engine) as connection:
        return list(
            connection.execute(select(events).where(events.c.job_key == key).order_by(events.c.id))
        )


def id_of(engine: Engine, key: int) -> UUID:
    found: UUID = job_of(engine, key).id
    return found
