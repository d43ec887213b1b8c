"""Reading buckets of series that have values now and then: of many jobs at once."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from psycopg import sql
from sqlalchemy import Connection

from services.aggregates import Aggregates
from services.curve_cover import Range
from services.packed import packed_fields, read_arrays
from services.parts import Parts
from services.rollups import BASE, width_of


class SeriesRange(NamedTuple):
    """Buckets of one job's series (services/series.py numbers them), from level 1."""

    job_key: int
    series: int
    range: Range
    base: int = BASE


_BUCKET = (
    ("place", ">i8"),
    ("bucket", ">i8"),
    ("first", ">i8"),
    ("count", ">i4"),
    ("non_finite", ">i4"),
    ("min", ">f8"),
    ("max", ">f8"),
    ("sum", ">f8"),
)
# LIMIT keeps the planner from anything but one look into the index a range.
_BUCKETS = sql.SQL("""
    SELECT {arrays} FROM (
        SELECT wanted.place, found.*
        FROM unnest(%(jobs)s::bigint[], %(series)s::integer[], %(levels)s::smallint[],
            %(firsts)s::bigint[], %(lasts)s::bigint[])
            WITH ORDINALITY AS wanted (job, series, level, first, last, place),
        LATERAL (
            SELECT bucket, first, count, non_finite, coalesce(min, 'Infinity') AS min,
                coalesce(max, '-Infinity') AS max, sum
            FROM series_rollups
            WHERE job_key = wanted.job AND series = wanted.series AND level = wanted.level
                AND bucket BETWEEN wanted.first AND wanted.last
            ORDER BY bucket LIMIT wanted.last - wanted.first + 1
        ) AS found
        ORDER BY wanted.place, found.bucket
    ) AS parts
""").format(arrays=packed_fields(_BUCKET))


def read_series_buckets(connection: Connection, wanted: Sequence[SeriesRange]) -> list[Parts]:
    """Read them in one statement, range by range; a bucket without a value has no row."""
    if not wanted:
        return []
    parameters = {
        "jobs": [each.job_key for each in wanted],
        "series": [each.series for each in wanted],
        "levels": [each.range.level for each in wanted],
        "firsts": [each.range.first for each in wanted],
        "lasts": [each.range.last for each in wanted],
    }
    found = read_arrays(connection, _BUCKETS, _BUCKET, parameters)
    ends = np.searchsorted(found["place"], np.arange(len(wanted) + 1), side="right").tolist()
    several = []
    for number, each in enumerate(wanted):
        mine = slice(ends[number], ends[number + 1])
        columns = {name: found[name][mine] for name, _ in _BUCKET[2:]}
        cells = Aggregates(**columns | {"count": columns["count"].astype(np.int64)})
        width = width_of(each.range.level, each.base)
        several.append(Parts(found["bucket"][mine] * width + 1, cells))
    return several
