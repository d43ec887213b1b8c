"""Rows drawn together by the server: what has no rollups, as counts, extremes and sums."""

from collections.abc import Mapping

import numpy as np
from psycopg import sql

from services.aggregates import Aggregates
from services.packed import Arrays
from services.parts import LARGE, SHRINK, sum_of

AGGREGATES = (
    ("first", ">i8"),
    ("count", ">i8"),
    ("non_finite", ">i8"),
    ("min", ">f8"),
    ("max", ">f8"),
    ("small", ">f8"),
    ("large", ">f8"),
)
"""What `aggregates_of` selects."""

# A sum that is beyond a float64 is an error to the server, and none of a book's: large numbers
# are shrunk before they are added.
_AGGREGATES = sql.SQL("""
    min({iteration}) AS first,
    count(*) AS count,
    count(*) FILTER (WHERE abs({value}) IN ('NaN', 'Infinity')) AS non_finite,
    coalesce(min({value}) FILTER (WHERE abs({value}) < 'Infinity'), 'Infinity') AS min,
    coalesce(max({value}) FILTER (WHERE abs({value}) < 'Infinity'), '-Infinity') AS max,
    coalesce(sum({value}) FILTER (WHERE abs({value}) < {huge}), 0) AS small,
    coalesce(sum({value} * {shrink}::double precision) FILTER (
        WHERE abs({value}) >= {huge} AND abs({value}) < 'Infinity'
    ), 0) AS large
""")


def aggregates_of(value: str, iteration: str = "iteration") -> sql.Composed:
    """What to select of a group of rows, all of which have the value."""
    return _AGGREGATES.format(
        value=sql.Identifier(value),
        iteration=sql.Identifier(iteration),
        huge=sql.Literal(LARGE),
        shrink=sql.Literal(SHRINK),
    )


def cells_of(found: Arrays) -> Aggregates:
    """The groups as buckets."""
    columns: Mapping[str, np.ndarray] = {
        name: found[name] for name in ("first", "count", "non_finite", "min", "max")
    }
    return Aggregates(**columns, sum=sum_of(found["small"], found["large"]))
