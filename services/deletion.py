"""Deleting a finished job: every row that is its, and then its files."""

from uuid import UUID

import fsspec
from sqlalchemy import Connection, delete

from foundation.logging import get_logger
from models.domain.errors import MoveForbidden
from models.domain.lifecycle import FINISHED
from models.tables import iterations, jobs, layer_readings, logs
from services.closing import allow_long_statements
from services.steering import lock

log = get_logger("services")


def delete_job(connection: Connection, job_id: UUID) -> None:
    """Delete all rows of a finished job.

    Its files go by `delete_files`, once this is committed: a rollback could not bring them back.

    Raises:
        JobMissing: there is no such job.
        MoveForbidden: it is not finished.

    """
    key, state = lock(connection, job_id)
    if state not in FINISHED:
        raise MoveForbidden(str(job_id), state, "delete")
    allow_long_statements(connection)
    # These carry no foreign key (see models/tables/metadata.py); the others cascade.
    for table in (iterations, layer_readings, logs):
        connection.execute(delete(table).where(table.c.job_key == key))
    connection.execute(delete(jobs).where(jobs.c.key == key))


def delete_files(artifacts_url: str, job_id: UUID | str) -> None:
    """Remove the job's folder; one that cannot be removed is named in the log, not an error.

    No row names these files any more, so for the service they are gone already.
    """
    folder = f"{artifacts_url.rstrip('/')}/{job_id}"
    try:
        files, path = fsspec.core.url_to_fs(folder)
        if files.exists(path):
            files.rm(path, recursive=True)
    except (OSError, ImportError, ValueError) as error:
        log.warning("job.files_left", folder=folder, error=repr(error))
