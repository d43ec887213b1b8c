"""Closing a book: nobody owns the job any more, so its rows can be counted and hashed."""

import hashlib
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, case, func, select, text, update

from models.domain.lifecycle import Phase
from models.tables import attempts, iterations, progress, summaries
from services.copying import copy_losses

# The API's own limit on a statement is too short to read ten million rows.
STATEMENT_TIMEOUT = "10min"


def allow_long_statements(connection: Connection) -> None:
    """Let the rest of the transaction read or delete every row of a long run."""
    connection.execute(
        text("SELECT set_config('statement_timeout', :timeout, true)"),
        {"timeout": STATEMENT_TIMEOUT},
    )


class Hashed(NamedTuple):
    """The hash of a book's losses, and where the book stood: nothing else changes its losses."""

    iteration: int
    rewinds: int
    sha256: str


def hash_book(connection: Connection, job_key: int) -> Hashed:
    """Hash a job's losses without holding anything, which a long run's many rows would take long.

    `loss_sha256` then asks, once the job is locked, whether it still stands there.
    """
    iteration, rewinds = _standing(connection, job_key)
    return Hashed(iteration, rewinds, _digest(connection, job_key, iteration))


def loss_sha256(connection: Connection, job_key: int, hashed: Hashed | None = None) -> str:
    """The hash of all losses in the book, as little-endian float64 in iteration order.

    Args:
        connection: the transaction.
        job_key: the job, locked.
        hashed: what was found before the lock.

    """
    iteration, rewinds = _standing(connection, job_key)
    if hashed is not None and (hashed.iteration, hashed.rewinds) == (iteration, rewinds):
        return hashed.sha256
    return _digest(connection, job_key, iteration)


def _standing(connection: Connection, job_key: int) -> tuple[int, int]:
    row = connection.execute(
        select(progress.c.iteration, progress.c.rewinds).where(progress.c.job_key == job_key)
    ).one()
    return row.iteration, row.rewinds


def _digest(connection: Connection, job_key: int, last: int) -> str:
    digest = hashlib.sha256()
    for chunk in copy_losses(connection, job_key, last=last):
        digest.update(chunk)
    return digest.hexdigest()


def close_book(connection: Connection, job_key: int) -> None:
    """Write down how the job's book ends; the job's row is locked and its fence is down.

    `rows` is counted here: while the job ran it was added up from what the flushes brought.
    """
    rows = (
        select(func.count())
        .select_from(iterations)
        .where(iterations.c.job_key == job_key)
        .scalar_subquery()
    )
    connection.execute(
        update(progress)
        .where(progress.c.job_key == job_key)
        .values(rows=rows, phase=Phase.DONE, wanted=None, wanted_at=None)
    )
    connection.execute(
        update(summaries)
        .where(summaries.c.job_key == progress.c.job_key, progress.c.job_key == job_key)
        .values(final_loss=progress.c.latest_loss)
    )


def reached(job_key: int) -> ColumnElement[int | None]:
    """The last iteration that an attempt at the job has booked, for its `last_iteration`.

    Null where it has booked none, which the job's own counter can't tell.
    """
    iteration = select(progress.c.iteration).where(progress.c.job_key == job_key).scalar_subquery()
    return case((iteration >= attempts.c.first_iteration, iteration))
