"""The rows of many jobs at once, job after job, in one moment."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection

from services.archive import Archives
from services.arrow_tables import JOB
from services.editions import edition_of
from services.iterations import IterationsQuery, read_run
from services.packed import Series

MOST_JOBS = 200

Lines = Mapping[str, Series | Sequence[str]]


@dataclass(frozen=True, slots=True)
class ExportQuery:
    """Which jobs, each once and in this order, and which of their rows."""

    job_ids: tuple[UUID, ...]
    rows: IterationsQuery

    @property
    def columns(self) -> tuple[str, ...]:
        return (JOB, *self.rows.fields)


def read_export(connection: Connection, query: ExportQuery, archives: Archives) -> Iterator[Lines]:
    """Read the rows of all the jobs, a piece at a time, each with its job's id in front.

    Args:
        connection: a snapshot, in which all pieces are read as the iterator is advanced.
        query: which jobs, at most MOST_JOBS, and which rows.
        archives: where the rows of archived jobs are.

    Raises:
        JobMissing: one of the jobs is not there; raised before the first piece is asked for.

    """
    edition_of(connection, query.job_ids)
    return _pieces(connection, query, archives)


def _pieces(connection: Connection, query: ExportQuery, archives: Archives) -> Iterator[Lines]:
    for job_id in query.job_ids:
        for columns in read_run(connection, job_id, query.rows, archives):
            yield {JOB: [str(job_id)] * len(columns["iteration"]), **columns}
