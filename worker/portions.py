"""A finished job's rows, table by table and portion by portion, on their way into files.

Each portion is read in a transaction of its own: nobody changes rows of a finished job. Whether
they are all that the book speaks of is looked at here.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from sqlalchemy import Engine, RowMapping, select

from models.tables import metrics
from services.archived_tables import ITERATIONS, LAYERS, METRICS, ArchivedTable
from services.archiving import Wish
from services.database import transaction
from services.packed import Columns, Span, read_columns

PORTION_ROWS = 20_000


class Unfit(RuntimeError):
    """The job's rows are not what its book says: the text tells why."""


def portions_of(engine: Engine, table: ArchivedTable, wish: Wish) -> Iterator[Columns]:
    """Read all rows of a table, in the order of its key, some at a time.

    Raises:
        Unfit: some are missing.

    """
    read = {ITERATIONS: _iterations, LAYERS: _layers, METRICS: _metrics}[table]
    return read(engine, wish)


def names_of_metrics(engine: Engine, wish: Wish) -> dict[int, str]:
    """Look up what the job's metrics are called, by their numbers."""
    return {metric["number"]: metric["name"] for metric in _known_metrics(engine, wish)}


def _iterations(engine: Engine, wish: Wish) -> Iterator[Columns]:
    for first in range(1, wish.iteration + 1, PORTION_ROWS):
        last = min(first + PORTION_ROWS - 1, wish.iteration)
        found = _read(engine, ITERATIONS, Span(wish.job_key, first, last))
        if len(found["iteration"]) != last - first + 1:
            raise Unfit(f"rows are missing among iterations {first:,} to {last:,}")
        yield found


def _layers(engine: Engine, wish: Wish) -> Iterator[Columns]:
    first = 1
    while first <= wish.iteration:
        span = Span(wish.job_key, first, wish.iteration)
        found = _read(engine, LAYERS, span, PORTION_ROWS)
        iterations = found["iteration"].values
        if not len(iterations):
            return
        last = int(iterations[-1])
        if len(iterations) == PORTION_ROWS:
            # The last iteration's layers may not all be there: it begins the next portion.
            before = int(np.searchsorted(iterations, last))
            if before:
                found = {name: series[:before] for name, series in found.items()}
                last = int(iterations[before - 1])
            else:
                found = _read(engine, LAYERS, Span(wish.job_key, last, last))
        yield found
        first = last + 1


def _metrics(engine: Engine, wish: Wish) -> Iterator[Columns]:
    for metric in _known_metrics(engine, wish):
        first, count = 1, 0
        while first <= metric["last_iteration"]:
            span = Span(wish.job_key, first, metric["last_iteration"], metric=metric["number"])
            found = _read(engine, METRICS, span, PORTION_ROWS)
            if not len(found["iteration"]):
                break
            yield found
            count += len(found["iteration"])
            first = int(found["iteration"].values[-1]) + 1
        if count != metric["count"]:
            booked = f"{metric['count']:,} are booked"
            raise Unfit(f"metric {metric['name']} has {count:,} values, {booked}")


def _known_metrics(engine: Engine, wish: Wish) -> Sequence[RowMapping]:
    known = select(metrics).where(metrics.c.job_key == wish.job_key).order_by(metrics.c.number)
    with transaction(engine) as connection:
        return connection.execute(known).mappings().all()


def _read(engine: Engine, table: ArchivedTable, span: Span, limit: int | None = None) -> Columns:
    with transaction(engine) as connection:
        return read_columns(connection, table.table, table.columns, span, limit=limit)
