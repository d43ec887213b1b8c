"""Reading metrics of a trainer's own: what each has come to, and its values."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import Connection, RowMapping, select

from models.domain.errors import Breach, MetricMissing, QueryInvalid
from models.schemas.readings import Metric, MetricList
from models.tables import metrics
from services.archive import Archives
from services.archived_tables import METRICS
from services.arrow_tables import METRIC
from services.book import Book, Place, open_book
from services.packed import Columns, Series, Span
from services.raw_readings import Readings, open_readings

PAGE_ROWS = 10_000
MOST_PAGE_ROWS = 100_000
PIECE_ROWS = 16_000
COLUMNS = (METRIC, "iteration", "value")
_READ = ("iteration", "value")
_LAST = 2**63 - 1

Lines = dict[str, Series | list[str]]
"""Values of one metric: its name, an iteration, a value a row."""


@dataclass(frozen=True, slots=True)
class ValuesQuery:
    """Which values: of one metric or of all, and of which iterations.

    Raises:
        QueryInvalid: `first` lies behind `last`.

    """

    name: str | None = None
    first: int = 1
    last: int = _LAST
    cursor: str | None = None

    def __post_init__(self) -> None:
        if self.first > self.last:
            msg = f"from is {self.first}, which lies behind to, {self.last}"
            raise QueryInvalid([Breach(("query", "from"), msg)])


@dataclass(frozen=True, slots=True)
class ValuesPage:
    """Some values of one metric; `total` counts all that the query has."""

    name: str
    columns: Columns
    total: int
    next_cursor: str | None

    @property
    def lines(self) -> Lines:
        return _lines(self.name, self.columns)


def list_metrics(connection: Connection, job_id: UUID) -> MetricList:
    """Read what a job's metrics are and what they have come to, in the order of their first values.

    Raises:
        JobMissing: there is no such job.

    """
    found = _metrics_of(connection, open_book(connection, job_id))
    return MetricList(items=[Metric(**row) for row in found], next_cursor=None)


def read_values(
    connection: Connection, job_id: UUID, query: ValuesQuery, limit: int, archives: Archives
) -> ValuesPage:
    """Read at most `limit` values of a metric, from the query's cursor on.

    Raises:
        QueryInvalid: the query names none: pages go through one metric.
        JobMissing, MetricMissing, CursorInvalid, Rewound, ArchiveSpoilt, ArchiveAway: as they say.

    """
    if query.name is None:
        msg = "a page is of one metric; all of them come as lines or columns, without limit"
        raise QueryInvalid([Breach(("query", "name"), msg)])
    book = open_book(connection, job_id)
    (metric,) = _metrics_of(connection, book, query.name)
    place, after = _begin(connection, book, query)
    span = Span(book.job_key, max(query.first, after + 1), query.last, metric=metric["number"])
    with contextlib.closing(open_readings(connection, METRICS, book, archives)) as readings:
        found = readings.read(_READ, span, limit + 1)
        total = _count(readings, metric, query)
    columns = {name: series[:limit] for name, series in found.items()}
    next_cursor = None
    if len(found["iteration"]) > limit:
        last = int(columns["iteration"].values[-1])
        next_cursor = place.mark(last, last)
    return ValuesPage(query.name, columns, total, next_cursor)


def read_all_values(
    connection: Connection, job_id: UUID, query: ValuesQuery, archives: Archives
) -> Iterator[Lines]:
    """Read all values of the query, metric by metric, a piece at a time.

    What can be refused is refused before the first piece is asked for.

    Raises:
        JobMissing, MetricMissing, CursorInvalid, Rewound, ArchiveSpoilt, ArchiveAway: as they say.

    """
    book = open_book(connection, job_id)
    found = _metrics_of(connection, book, query.name)
    _, after = _begin(connection, book, query)
    query = replace(query, first=max(query.first, after + 1))
    return _pieces(open_readings(connection, METRICS, book, archives), found, query)


def _pieces(readings: Readings, found: Sequence[RowMapping], query: ValuesQuery) -> Iterator[Lines]:
    with contextlib.closing(readings):
        for metric in found:
            first, last = query.first, min(query.last, metric["last_iteration"])
            while first <= last:
                span = Span(metric["job_key"], first, last, metric=metric["number"])
                columns = readings.read(_READ, span, PIECE_ROWS)
                if not len(columns["iteration"]):
                    break
                yield _lines(metric["name"], columns)
                first = int(columns["iteration"].values[-1]) + 1


def _lines(name: str, columns: Columns) -> Lines:
    return {METRIC: [name] * len(columns["iteration"]), **columns}


def _begin(connection: Connection, book: Book, query: ValuesQuery) -> tuple[Place, int]:
    place = Place.of(book, "metrics", name=query.name, first=query.first, last=query.last)
    return place, place.find(connection, query.cursor)


def _metrics_of(connection: Connection, book: Book, name: str | None = None) -> list[RowMapping]:
    wanted = select(metrics).where(metrics.c.job_key == book.job_key).order_by(metrics.c.number)
    if name is None:
        return list(connection.execute(wanted).mappings())
    found = list(connection.execute(wanted.where(metrics.c.name == name)).mappings())
    if not found:
        raise MetricMissing(str(book.job_id), name)
    return found


def _count(readings: Readings, metric: RowMapping, query: ValuesQuery) -> int:
    if query.first == 1 and query.last >= metric["last_iteration"]:
        return int(metric["count"])
    span = Span(metric["job_key"], query.first, query.last, metric=metric["number"])
    return readings.count(span)
