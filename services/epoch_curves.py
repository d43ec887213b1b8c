"""Curves of what is measured once an epoch, of many jobs at once."""

from collections.abc import Sequence

import numpy as np
from psycopg import sql
from sqlalchemy import Connection

from services.curve_cover import CurveSpan, level_for
from services.packed import packed_fields, read_arrays
from services.parts import Parts, in_order
from services.rollups import width_of
from services.row_groups import AGGREGATES, aggregates_of, cells_of
from services.series import EpochSeries

_BOUNDS = (("place", ">i8"), ("count", ">i8"), ("lowest", ">i4"), ("highest", ">i4"))
_COUNT = sql.SQL("""
    SELECT {arrays} FROM (
        SELECT wanted.place, found.*
        FROM unnest(%(jobs)s::bigint[], %(firsts)s::bigint[], %(lasts)s::bigint[])
            WITH ORDINALITY AS wanted (job, first, last, place),
        LATERAL (
            SELECT count(*) AS count, min(epoch) AS lowest, max(epoch) AS highest FROM epochs
            WHERE job_key = wanted.job AND last_iteration BETWEEN wanted.first AND wanted.last
                AND {column} IS NOT NULL
        ) AS found
        WHERE found.count > 0
        ORDER BY wanted.place
    ) AS bounds
""")
_GROUPS = (("place", ">i8"), ("bucket", ">i8"), *AGGREGATES)
_GROUPED = sql.SQL("""
    SELECT {arrays} FROM (
        SELECT wanted.place, found.*
        FROM unnest(%(jobs)s::bigint[], %(widths)s::bigint[], %(lowest)s::integer[],
            %(highest)s::integer[])
            WITH ORDINALITY AS wanted (job, width, lowest, highest, place),
        LATERAL (
            SELECT (epoch - 1) / wanted.width AS bucket, {aggregates} FROM (
                SELECT epoch, last_iteration, {column}::double precision AS value FROM epochs
                WHERE job_key = wanted.job AND epoch BETWEEN wanted.lowest AND wanted.highest
                    AND {column} IS NOT NULL
                ORDER BY epoch
            ) AS measured
            GROUP BY 1
        ) AS found
        ORDER BY wanted.place, found.bucket
    ) AS parts
""")


def read_epoch_parts(
    connection: Connection, series: EpochSeries, spans: Sequence[CurveSpan]
) -> list[tuple[int, Parts]]:
    """Read a series of epochs, each of them a row at its last iteration.

    The server counts them, and draws them together where there are more than points.

    Returns:
        How many epochs a point stands for, and the points; `start` counts epochs.

    """
    column = sql.Identifier(series.column)
    statement = _COUNT.format(arrays=packed_fields(_BOUNDS), column=column)
    asked = {
        "jobs": [span.job_key for span in spans],
        "firsts": [span.first for span in spans],
        "lasts": [span.last for span in spans],
    }
    bounds = read_arrays(connection, statement, _BOUNDS, asked)
    drawn: list[tuple[int, Parts]] = [(1, in_order([])) for _ in spans]
    places = (bounds["place"] - 1).tolist()
    lowest, highest = bounds["lowest"].tolist(), bounds["highest"].tolist()
    widths = [
        _width(count, first, last, spans[place].points)
        for place, count, first, last in zip(
            places, bounds["count"].tolist(), lowest, highest, strict=True
        )
    ]
    statement = _GROUPED.format(
        arrays=packed_fields(_GROUPS),
        aggregates=aggregates_of("value", "last_iteration"),
        column=column,
    )
    asked = {
        "jobs": [spans[place].job_key for place in places],
        "widths": widths,
        "lowest": lowest,
        "highest": highest,
    }
    found = read_arrays(connection, statement, _GROUPS, asked)
    ends = np.searchsorted(found["place"], np.arange(len(places) + 1), side="right").tolist()
    for number, (place, width) in enumerate(zip(places, widths, strict=True)):
        mine = slice(ends[number], ends[number + 1])
        held = {name: each[mine] for name, each in found.items()}
        drawn[place] = (width, Parts(held["bucket"] * width + 1, cells_of(held)))
    return drawn


def _width(count: int, first: int, last: int, points: int) -> int:
    return 1 if count <= points else width_of(level_for(first, last, points))
