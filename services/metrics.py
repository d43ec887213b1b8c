"""Reading metrics of a trainer's own: what each has come to, and its values."""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, RowMapping, func, select

from models.domain.errors import Breach, MetricMissing, QueryInvalid
from models.schemas.readings import Metric, MetricList
from models.tables import metric_values, metrics
from services.arrow_tables import METRIC
from services.book import Book, Place, open_book
from services.packed import Columns, Series, Span, read_columns

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


def read_values(connection: Connection, job_id: UUID, query: ValuesQuery, limit: int) -> ValuesPage:
    """Read at most `limit` values of a metric, from the query's cursor on.

    Raises:
        QueryInvalid: the query names none: pages go through one metric.
        JobMissing, MetricMissing, CursorInvalid, Rewound: as they say.

    """
    if query.name is None:
        msg = "a page is of one metric; all of them come as lines or columns, without limit"
        raise QueryInvalid([Breach(("query", "name"), msg)])
    book = open_book(connection, job_id)
    (metric,) = _metrics_of(connection, book, query.name)
    place, after = _begin(connection, book, query)
    span = Span(book.job_key, max(query.first, after + 1), query.last, metric=metric["number"])
    found = read_columns(connection, metric_values, _READ, span, limit=limit + 1)
    columns = {name: series[:limit] for name, series in found.items()}
    next_cursor = None
    if len(found["iteration"]) > limit:
        last = int(columns["iteration"].values[-1])
        next_cursor = place.mark(last, last)
    return ValuesPage(query.name, columns, _count(connection, metric, query), next_cursor)


def read_all_values(connection: Connection, job_id: UUID, query: ValuesQuery) -> Iterator[Lines]:
    """Read all values of the query, metric by metric, a piece at a time.

    What can be refused is refused before the first piece is asked for.

    Raises:
        JobMissing, MetricMissing, CursorInvalid, Rewound: as they say.

    """
    book = open_book(connection, job_id)
    found = _metrics_of(connection, book, query.name)
    _, after = _begin(connection, book, query)
    first = max(query.first, after + 1)
    return (
        piece
        for metric in found
        for piece in _pieces(connection, metric, first, min(query.last, metric["last_iteration"]))
    )


def _pieces(connection: Connection, metric: RowMapping, first: int, last: int) -> Iterator[Lines]:
    while first <= last:
        span = Span(metric["job_key"], first, last, metric=metric["number"])
        found = read_columns(connection, metric_values, _READ, span, limit=PIECE_ROWS)
        rows = len(found["iteration"])
        if not rows:
            return
        yield _lines(metric["name"], found)
        first = int(found["iteration"].values[-1]) + 1


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


def _count(connection: Connection, metric: RowMapping, query: ValuesQuery) -> int:
    if query.first == 1 and query.last >= metric["last_iteration"]:
        return int(metric["count"])
    values = metric_values.c
    return connection.execute(
        select(func.count()).where(
            values.job_key == metric["job_key"],
            values.metric == metric["number"],
            values.iteration.between(query.first, query.last),
        )
    ).scalar_one()
