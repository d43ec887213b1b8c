"""Reading a job's iterations: a page of them, or the whole run piece by piece."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from uuid import UUID

from sqlalchemy import Connection

from models.domain.errors import Breach, QueryInvalid
from services.archive import Archives
from services.book import Book, Place, open_book
from services.packed import Columns, Span
from services.raw_rows import RawRows, open_rows

COLUMNS = ("iteration", "epoch", "batch", "samples", "loss", "lr", "grad_norm", "seconds")
PAGE_ROWS = 10_000
MOST_PAGE_ROWS = 100_000
# A piece of a stream: large enough that a statement's own cost is small beside its rows', small
# enough that a process at work on one takes 40 MB more than at rest (seen; with 20,000: 80 MB,
# and no faster).
PIECE_ROWS = 8_000
_LAST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class IterationsQuery:
    """Which rows of a job, and which of their columns (in the order of COLUMNS).

    Raises:
        QueryInvalid: `first` lies behind `last`.

    """

    fields: tuple[str, ...] = COLUMNS
    first: int | None = None
    last: int | None = None
    epoch: int | None = None
    cursor: str | None = None

    def __post_init__(self) -> None:
        if self.first is not None and self.last is not None and self.first > self.last:
            msg = f"from is {self.first}, which lies behind to, {self.last}"
            raise QueryInvalid([Breach(("query", "from"), msg)])


@dataclass(frozen=True, slots=True)
class IterationsPage:
    """Some rows; `total` counts all that the query has, on every page of it."""

    columns: Columns
    total: int
    next_cursor: str | None


def parse_fields(text: str | None) -> tuple[str, ...]:
    """Read `loss,lr`: the columns asked for, `iteration` always among them.

    Raises:
        QueryInvalid: there is no such column; the nearest one is suggested.

    """
    if text is None:
        return COLUMNS
    names = [name.strip() for name in text.split(",")]
    breaches = [_unknown(name) for name in names if name not in COLUMNS]
    if breaches:
        raise QueryInvalid(breaches)
    return tuple(name for name in COLUMNS if name in {"iteration", *names})


def read_page(
    connection: Connection,
    job_id: UUID,
    query: IterationsQuery,
    limit: int,
    archives: Archives,
) -> IterationsPage:
    """Read at most `limit` rows, from the query's cursor on.

    Args:
        connection: a snapshot, so that rows, total and cursor agree.
        job_id: the job.
        query: which rows.
        limit: how many at most.
        archives: where the rows of an archived job are.

    Raises:
        JobMissing, CursorInvalid, Rewound, ArchiveSpoilt, ArchiveAway: as they say.

    """
    book = open_book(connection, job_id)
    place, span = _begin(connection, book, query)
    with contextlib.closing(open_rows(connection, book, archives)) as rows:
        found = rows.read(query.fields, span, limit + 1)
        columns = {name: series[:limit] for name, series in found.items()}
        next_cursor = None
        if len(found["iteration"]) > limit:
            last = int(columns["iteration"].values[-1])
            next_cursor = place.mark(last, last)
        total = _count(rows, book, _span(book, query, after=0))
    return IterationsPage(columns, total, next_cursor)


def read_run(
    connection: Connection, job_id: UUID, query: IterationsQuery, archives: Archives
) -> Iterator[Columns]:
    """Read all rows of the query, a piece at a time: memory stays flat however long the run.

    What can be refused is refused before the first piece is asked for. The pieces are read as
    the iterator is advanced, all in the connection's one snapshot.

    Raises:
        JobMissing, CursorInvalid, Rewound, ArchiveSpoilt, ArchiveAway: as they say.

    """
    book = open_book(connection, job_id)
    _, span = _begin(connection, book, query)
    return _pieces(open_rows(connection, book, archives), query.fields, span)


def _pieces(rows: RawRows, fields: tuple[str, ...], span: Span) -> Iterator[Columns]:
    with contextlib.closing(rows):
        end = min(span.last, rows.newest)
        for first in range(span.first, end + 1, PIECE_ROWS):
            last = min(first + PIECE_ROWS - 1, end)
            columns = rows.read(fields, Span(span.job_key, first, last, span.epoch))
            if len(columns["iteration"]):
                yield columns


def _begin(connection: Connection, book: Book, query: IterationsQuery) -> tuple[Place, Span]:
    place = Place.of(book, "iterations", first=query.first, last=query.last, epoch=query.epoch)
    return place, _span(book, query, after=place.find(connection, query.cursor))


def _span(book: Book, query: IterationsQuery, *, after: int) -> Span:
    """Bound the rows by the query's range, its epoch (by the plan's arithmetic), its cursor."""
    firsts, lasts = [1, query.first or 1, after + 1], [query.last or _LAST]
    if query.epoch is not None and book.batches_per_epoch:
        firsts.append(min((query.epoch - 1) * book.batches_per_epoch + 1, _LAST))
        lasts.append(min(query.epoch * book.batches_per_epoch, _LAST))
    return Span(book.job_key, max(firsts), min(lasts), query.epoch)


def _count(rows: RawRows, book: Book, span: Span) -> int:
    if book.complete and (span.epoch is None or book.batches_per_epoch):
        # Rows 1 to `iteration` are there, each once: counting ten million of them takes a
        # second, this takes none.
        return max(0, min(span.last, book.iteration) - span.first + 1)
    return rows.count(span)


def _unknown(name: str) -> Breach:
    nearest = get_close_matches(name, COLUMNS, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(COLUMNS)}"
    return Breach(("query", "fields"), f"{name[:80]}: {hint}")
