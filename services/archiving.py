"""Archiving: rows of finished jobs go to files, one a table, and are read from there.

A wish is a row of `archives`; some worker fulfils it. First the files are made, of rows that nobody
changes any more, and checked. Then one short transaction, under the job's row lock, books them and
sets `archived_at`: from its commit on readers take the files. Only then the rows are removed, some
at a time, behind a mark that tells how far they are. A worker may die anywhere: before the
booking another one makes the files anew, after it another one goes on at the mark.

A retry takes a wish back that is not fulfilled yet, a deletion takes everything; both lock the job
first, so one of them and the booking wins.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnClause,
    Connection,
    Row,
    delete,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from models.domain.artifacts import ARCHIVE_KIND
from models.domain.lifecycle import FINISHED
from models.tables import archives, artifacts, jobs, metrics, progress
from services.archived_tables import ARCHIVED, LAYERS, METRICS, ArchivedTable
from services.lifecycle import Happening, add_events, lock_job
from services.recording import write_artifacts
from services.remains import walk_along_the_index

MOST_AT_ONCE = 10
MOST_BY_AGE = 1_000
BATCH_ROWS = 10_000
"""Removed of each table in one transaction: a deletion of the same job waits for its end."""


class Wish(NamedTuple):
    """A finished job whose rows are to go to files."""

    job_key: int
    job_id: UUID
    wanted_at: datetime
    iteration: int
    rows: int
    loss_sha256: str | None


class Emptied(NamedTuple):
    """An archived job whose rows are removed, and the files that have them."""

    job_key: int
    job_id: UUID
    uris: Sequence[str]


def want(connection: Connection, job_key: int) -> None:
    """Wish that a finished job, which is locked, is archived; a refused wish is made anew."""
    connection.execute(
        insert(archives)
        .values(job_key=job_key)
        .on_conflict_do_update(
            constraint="pk_archives",
            set_={"wanted_at": func.clock_timestamp(), "refused": None},
            where=archives.c.refused.is_not(None),
        )
    )


def want_old(connection: Connection, days: float) -> int:
    """Wish that jobs are archived which ended so many days ago; returns of how many.

    One whose wish was refused is left alone.
    """
    begun = select(archives.c.job_key).where(archives.c.job_key == jobs.c.key)
    old = (
        select(jobs.c.key)
        .where(
            jobs.c.finished_at < func.clock_timestamp() - timedelta(days=days),
            jobs.c.archived_at.is_(None),
            ~begun.exists(),
        )
        .order_by(jobs.c.finished_at)
        .limit(MOST_BY_AGE)
        .with_for_update(key_share=True, skip_locked=True)
    )
    made = insert(archives).from_select(["job_key"], old).on_conflict_do_nothing()
    return connection.execute(made).rowcount


def take_back(connection: Connection, job_key: int) -> bool:
    """Take back the wish to archive a job, which is locked; False where it is archived already."""
    query = select(jobs.c.archived_at).where(jobs.c.key == job_key)
    if connection.scalar(query) is not None:
        return False
    connection.execute(delete(archives).where(archives.c.job_key == job_key))
    return True


def find_wishes(connection: Connection, without: Collection[int] = ()) -> list[Wish]:
    """List wishes that are to be fulfilled, oldest first, but those for jobs `without`."""
    found = connection.execute(
        select(
            jobs.c.key,
            jobs.c.id,
            archives.c.wanted_at,
            progress.c.iteration,
            progress.c.rows,
            jobs.c.loss_sha256,
        )
        .join(archives, archives.c.job_key == jobs.c.key)
        .join(progress, progress.c.job_key == jobs.c.key)
        .where(
            archives.c.settled_at.is_(None),
            archives.c.refused.is_(None),
            jobs.c.archived_at.is_(None),
            jobs.c.key.not_in(without),
        )
        .order_by(archives.c.wanted_at)
        .limit(MOST_AT_ONCE)
    )
    return [Wish(*row) for row in found]


def book_archive(connection: Connection, wish: Wish, files: Sequence[Mapping[str, Any]]) -> bool:
    """Book the files (name, uri, bytes, sha256): from the commit on, rows are read from them.

    Returns:
        Whether the book names these very files, be it since an earlier call whose answer was lost.
        False, and nothing written: the wish was taken back, or fulfilled by somebody else.

    """
    if not _stands(connection, wish):
        mine = select(func.count()).where(
            artifacts.c.job_key == wish.job_key,
            artifacts.c.uri.in_([file["uri"] for file in files]),
        )
        return connection.scalar(mine) == len(files)
    row = connection.execute(
        update(jobs)
        .where(jobs.c.key == wish.job_key)
        .values(archived_at=func.clock_timestamp())
        .returning(jobs.c.archived_at, jobs.c.attempts_made)
    ).one()
    made = [{**file, "kind": ARCHIVE_KIND} for file in files]
    write_artifacts(connection, wish.job_key, row.attempts_made, made)
    data = {"field": "book.archived_at", "from": None, "to": row.archived_at.isoformat()}
    add_events(connection, wish.job_key, [Happening("edited", None, data)])
    return True


def refuse(connection: Connection, wish: Wish, reason: str) -> None:
    """Give a wish up, until somebody makes it anew, and warn of it; the rows stay."""
    if not _stands(connection, wish):
        return
    connection.execute(
        update(archives).where(archives.c.job_key == wish.job_key).values(refused=reason)
    )
    data = {"message": "the rows cannot be archived", "reason": reason}
    add_events(connection, wish.job_key, [Happening("warning", None, data)])


def remove_rows(connection: Connection, most: int = BATCH_ROWS) -> bool:
    """Remove some rows of an archived job from the tables, unless somebody else is at it.

    Of each table whose rows are in a booked file at most so many: one that has more for these
    iterations is come back to. Rows of a table without a file stay.

    Returns:
        Whether there was something to do: then call it again, in a transaction of its own.

    """
    due = connection.execute(
        select(archives.c.job_key, archives.c.removed_to, progress.c.iteration)
        .join(jobs, jobs.c.key == archives.c.job_key)
        .join(progress, progress.c.job_key == archives.c.job_key)
        .where(
            archives.c.settled_at.is_(None),
            archives.c.refused.is_(None),
            jobs.c.archived_at.is_not(None),
            archives.c.removed_to < progress.c.iteration,
        )
        .order_by(archives.c.wanted_at)
        .limit(1)
        .with_for_update(of=archives, skip_locked=True)
    ).one_or_none()
    if due is None:
        return False
    walk_along_the_index(connection)
    tables = _filed(connection, due.job_key)
    last = due.removed_to + _stretch(connection, due, tables, most)
    removed = [
        _remove(connection, table, due.job_key, (due.removed_to + 1, last), most)
        for table in tables
    ]
    # Of iterations there are not more than so many: rows 1, 2, 3 … each once.
    if all(count < most for count in removed[1:]):
        connection.execute(
            update(archives).where(archives.c.job_key == due.job_key).values(removed_to=last)
        )
    return True


def _filed(connection: Connection, job_key: int) -> list[ArchivedTable]:
    booked = select(artifacts.c.name).where(
        artifacts.c.job_key == job_key, artifacts.c.kind == ARCHIVE_KIND
    )
    names = set(connection.execute(booked).scalars())
    return [table for table in ARCHIVED if table.file_name in names]


def _stretch(
    connection: Connection, due: Row[Any, Any, Any], tables: Collection[ArchivedTable], most: int
) -> int:
    """Choose how many iterations to take, so that mostly no table has more rows of them.

    Whatever is come back to walks over what was removed there before.
    """
    step = most
    if METRICS in tables:
        told = select(func.sum(metrics.c.count)).where(metrics.c.job_key == due.job_key)
        values = int(connection.scalar(told) or 0)
        step = min(step, (most - 1) * due.iteration // max(values, 1))
    if LAYERS in tables:
        readings = LAYERS.table.c
        beyond = (
            select(readings.iteration)
            .where(readings.job_key == due.job_key, readings.iteration > due.removed_to)
            .order_by(readings.iteration, readings.position)
            .offset(most - 1)
            .limit(1)
        )
        too_far = connection.scalar(beyond)
        if too_far is not None:
            step = min(step, too_far - 1 - due.removed_to)
    return max(1, step)


def _remove(
    connection: Connection,
    archived: ArchivedTable,
    job_key: int,
    iterations: tuple[int, int],
    most: int,
) -> int:
    """Remove rows of these iterations from a table; returns of how many rows."""
    place: ColumnClause[object] = literal_column("ctid")
    rows = archived.table.c
    some = select(place).where(rows.job_key == job_key, rows.iteration.between(*iterations))
    if "metric" in rows:
        # Each by its number: the key has it in front of the iteration.
        numbers = select(metrics.c.number).where(metrics.c.job_key == job_key)
        some = some.where(rows.metric.in_(connection.execute(numbers).scalars().all()))
    places = func.array(some.limit(most).scalar_subquery())
    return connection.execute(delete(archived.table).where(place == func.any(places))).rowcount


def find_emptied(connection: Connection) -> list[Emptied]:
    """List archived jobs whose rows are removed, and of whose files all but these may go."""
    found = connection.execute(
        select(jobs.c.key, jobs.c.id, func.array_agg(artifacts.c.uri))
        .join(archives, archives.c.job_key == jobs.c.key)
        .join(progress, progress.c.job_key == jobs.c.key)
        .join(artifacts, artifacts.c.job_key == jobs.c.key)
        .where(
            archives.c.settled_at.is_(None),
            archives.c.refused.is_(None),
            jobs.c.archived_at.is_not(None),
            archives.c.removed_to >= progress.c.iteration,
            artifacts.c.kind == ARCHIVE_KIND,
        )
        .group_by(jobs.c.key, archives.c.wanted_at)
        .order_by(archives.c.wanted_at)
        .limit(MOST_AT_ONCE)
    )
    return [Emptied(*row) for row in found]


def settle(connection: Connection, job_key: int) -> None:
    """Write down that nothing is left to do."""
    connection.execute(
        update(archives)
        .where(archives.c.job_key == job_key)
        .values(settled_at=func.clock_timestamp())
    )


def _stands(connection: Connection, wish: Wish) -> bool:
    """Lock the job, and ask whether this wish is still to be fulfilled."""
    if lock_job(connection, wish.job_key) not in FINISHED:
        return False
    stands = (
        select(archives.c.job_key)
        .join(jobs, jobs.c.key == archives.c.job_key)
        .where(
            archives.c.job_key == wish.job_key,
            archives.c.wanted_at == wish.wanted_at,
            archives.c.refused.is_(None),
            jobs.c.archived_at.is_(None),
        )
    )
    return connection.scalar(stands) is not None
