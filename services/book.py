"""A job's book as its readers see it: how far it is written, and where a cursor stands in it."""

from dataclasses import dataclass
from uuid import UUID

from pydantic import JsonValue
from sqlalchemy import BigInteger, Connection, Integer, cast, func, select

from models.domain.errors import CursorInvalid, JobMissing, Rewound
from models.tables import events, jobs, progress
from services.cursors import are_counts, decode_cursor, encode_cursor, list_name


@dataclass(frozen=True, slots=True)
class Book:
    """How far a job's book is written, at one moment.

    Attributes:
        iteration: the newest iteration.
        rows: how many rows of iterations there are; `iteration` where none is missing.
        rewinds: how often rows were taken back.
        batches_per_epoch: as the plan says.
        archived: the rows lie in files.

    """

    job_key: int
    job_id: UUID
    iteration: int
    rows: int
    rewinds: int
    batches_per_epoch: int | None
    archived: bool

    @property
    def complete(self) -> bool:
        return self.rows == self.iteration


def open_book(connection: Connection, job_id: UUID) -> Book:
    """Look up where a job's book stands.

    Raises:
        JobMissing: there is no such job.

    """
    found = connection.execute(
        select(
            jobs.c.key,
            progress.c.iteration,
            progress.c.rows,
            progress.c.rewinds,
            jobs.c.plan["batches_per_epoch"].astext.cast(Integer).label("batches_per_epoch"),
            jobs.c.archived_at.is_not(None).label("archived"),
        )
        .join(progress, progress.c.job_key == jobs.c.key)
        .where(jobs.c.id == job_id)
    ).one_or_none()
    if found is None:
        raise JobMissing(str(job_id))
    return Book(
        found.key,
        job_id,
        found.iteration,
        found.rows,
        found.rewinds,
        found.batches_per_epoch,
        found.archived,
    )


@dataclass(frozen=True, slots=True)
class Place:
    """One list of a book that a cursor can point into.

    Attributes:
        name: what decides the list's order and content.

    """

    book: Book
    name: str

    @classmethod
    def of(cls, book: Book, page: str, **filters: JsonValue) -> "Place":
        return cls(book, list_name(page, str(book.job_id), filters))

    def mark(self, position: int, iteration: int) -> str:
        """Make the cursor of what comes after `position`, whose row ends at `iteration`."""
        return encode_cursor(self.name, [position, iteration, self.book.rewinds])

    def find(self, connection: Connection, cursor: str | None) -> int:
        """Read the position that a cursor marks; 0, the beginning, where there is none.

        Raises:
            CursorInvalid: this list did not make it.
            Rewound: what it had read was taken back since.

        """
        if cursor is None:
            return 0
        match decode_cursor(self.name, cursor):
            case [int(position), int(iteration), int(rewinds)] if are_counts(
                position, iteration, rewinds
            ):
                pass
            case _:
                raise CursorInvalid
        if rewinds != self.book.rewinds:
            kept = _kept_since(connection, self.book, rewinds)
            if kept < iteration:
                raise Rewound(str(self.book.job_id), kept)
        return position


def _kept_since(connection: Connection, book: Book, rewinds: int) -> int:
    """The iteration up to which no rewind after number `rewinds` took anything back.

    Rewind n of a job is its n-th `rewound` event, whose `to` is the last iteration that stayed.
    """
    kept = cast(events.c.data["to"].astext, BigInteger)
    later = (
        select(kept.label("kept"))
        .where(events.c.job_key == book.job_key, events.c.type == "rewound")
        .order_by(events.c.id)
        .offset(rewinds)
        .subquery()
    )
    return connection.execute(select(func.min(later.c.kept))).scalar_one() or 0
