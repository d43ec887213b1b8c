"""Deleting a finished job: it is gone at once, its many rows soon after, and then its files."""

from uuid import UUID

import fsspec
from sqlalchemy import Connection, delete, select

from foundation.logging import get_logger
from models.domain.errors import MoveForbidden
from models.domain.lifecycle import FINISHED
from models.tables import jobs
from services.editing import write_edits
from services.filestore import folder_of
from services.steering import lock

log = get_logger("services")


def delete_job(connection: Connection, job_id: UUID) -> None:
    """Delete a finished job; its children have no parent from then on.

    What grows with its length is out of everybody's sight, and removed later (services/remains.py).
    Its files go by `delete_files`, once this is committed: a rollback could not bring them back.

    Raises:
        JobMissing: there is no such job.
        MoveForbidden: it is not finished.

    """
    key, state = lock(connection, job_id)
    if state not in FINISHED:
        raise MoveForbidden(str(job_id), state, "delete")
    connection.execute(delete(jobs).where(jobs.c.key == key))
    # After it: a submit that names this parent holds its row, so its child is seen by now.
    _orphan(connection, job_id)


def _orphan(connection: Connection, parent: UUID) -> None:
    """A spec whose parent is gone would be refused, and a job's spec is there to POST again."""
    children = select(jobs.c.key).where(jobs.c.parent == parent).order_by(jobs.c.key)
    for key in connection.scalars(children).all():
        write_edits(connection, key, {"parent": str(parent)}, {"parent": None})


def delete_files(artifacts_url: str, job_id: UUID | str) -> None:
    """Remove the job's folder; one that cannot be removed is named in the log, not an error.

    No row names these files any more, so for the service they are gone already.
    """
    folder = folder_of(artifacts_url, job_id)
    try:
        files, path = fsspec.core.url_to_fs(folder)
        if files.exists(path):
            files.rm(path, recursive=True)
    except Exception as error:  # noqa: BLE001 - every store has errors of its own
        log.warning("job.files_left", folder=folder, error=repr(error))
