"""Work on a job that one worker does at a time, outside any transaction: files that take long."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from sqlalchemy import Connection, func, select


class Work(IntEnum):
    """Beside a job's key each makes the numbers of advisory locks of its own."""

    ARCHIVE = 1 << 61
    SALVAGE = 1 << 62


@contextmanager
def held(connection: Connection, work: Work, job_key: int) -> Iterator[bool]:
    """Hold a job's work for this session meanwhile; False where another session has it.

    It is let go whatever happens: the session goes back to its pool, and would keep it there.
    """
    number = int(work) | job_key
    taken = bool(connection.scalar(select(func.pg_try_advisory_lock(number))))
    try:
        yield taken
    finally:
        if taken:
            connection.execute(select(func.pg_advisory_unlock(number)))
