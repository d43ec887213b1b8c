"""What a finished job's book is known by, so that who has read it need not read it again."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, select

from models.domain.errors import JobMissing
from models.tables import jobs, progress


def edition_of(connection: Connection, job_ids: Sequence[UUID]) -> str | None:
    """Name what the books of these jobs hold; None where one of them may still change.

    Two editions of the same name are the same rows. A job that is retried gets a new one when
    it ends again, even where no row is another.

    Raises:
        JobMissing: names the first job that is not there.

    """
    found = {
        row.id: row
        for row in connection.execute(
            select(
                jobs.c.id,
                jobs.c.loss_sha256,
                jobs.c.finished_at,
                progress.c.rows,
                progress.c.rewinds,
            )
            .join(progress, progress.c.job_key == jobs.c.key)
            .where(jobs.c.id.in_(job_ids))
        )
    }
    missing = next((job_id for job_id in job_ids if job_id not in found), None)
    if missing is not None:
        raise JobMissing(str(missing))
    books = [found[job_id] for job_id in job_ids]
    if any(book.finished_at is None for book in books):
        return None
    return ";".join(
        f"{book.id} {book.loss_sha256} {book.rows} {book.rewinds} {book.finished_at.isoformat()}"
        for book in books
    )
