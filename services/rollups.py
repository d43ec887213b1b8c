"""Rollups: written by the flush that completes a bucket, once, and never changed.

Level L has buckets of `base` * 4^(L - 1) iterations; bucket b of a width w holds iterations
b * w + 1 to (b + 1) * w. A level is made of the one below it, level 1 of the rows. What is not
complete stands in no rollup: a curve's open end is read from finer levels and from the rows
(services/curves.py), and so is what a book from before there were rollups has.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Table,
    and_,
    delete,
    or_,
    select,
    tuple_,
)

from models.rows import Rows
from models.tables import iterations, rollups
from services.aggregates import NOWHERE, Aggregates, Bools, chained, joined, of_rows
from services.copy_format import CopyFormat
from services.packed import Span, read_columns

BASE = 16
FACTOR = 4
# The widest stored bucket holds 67 million iterations: of wider ones a curve is soon joined.
TOP_LEVEL = 12

SERIES = ("loss", "lr", "seconds", "grad_norm")
SPARSE = "grad_norm"


def width_of(level: int, base: int = BASE) -> int:
    """How many iterations a bucket of the level holds; level 0 is the rows themselves."""
    return base * FACTOR ** (level - 1) if level else 1


class Run(NamedTuple):
    """Buckets `first`, `first + 1`, … of one level."""

    first: int
    parts: Aggregates

    @property
    def end(self) -> int:
        return self.first + self.parts.buckets


def completed(run: Run, each: int) -> Run | None:
    """Join a run into the wider buckets that it holds all parts of; None where there is none."""
    lead = -run.first % each
    whole = (run.parts.buckets - lead) // each
    if whole <= 0:
        return None
    parts = run.parts.part(slice(lead, lead + whole * each))
    return Run((run.first + lead) // each, joined(parts, each))


def write_rollups(connection: Connection, job_key: int, rows: Rows) -> None:
    """Write what these rows, which stand in the book by now, have completed."""
    before = int(rows["iteration"][0]) - 1
    last = before + len(rows)
    if before // BASE == last // BASE:
        return
    stored = _stored_before(connection, job_key, before, last)
    run = completed(_rows_since(connection, job_key, before - before % BASE, rows), BASE)
    levels: list[tuple[int, Run]] = []
    for level in range(1, TOP_LEVEL + 1):
        if run is None:
            break
        levels.append((level, run))
        earlier = stored.get(level)
        if earlier is not None and earlier.end == run.first:
            run = Run(earlier.first, chained([earlier.parts, run.parts]))
        run = completed(run, FACTOR)
    if levels:
        _copy(connection, job_key, levels)


def rewind_rollups(connection: Connection, job_key: int, to_iteration: int) -> None:
    """Take back the buckets that hold iterations after this one."""
    connection.execute(
        delete(rollups).where(rollups.c.job_key == job_key, beyond(rollups, to_iteration, BASE))
    )


def beyond(table: Table, iteration: int, base: int) -> ColumnElement[bool]:
    """Whether a bucket holds an iteration after this one."""
    return or_(
        *(
            and_(table.c.level == level, table.c.bucket >= iteration // width_of(level, base))
            for level in range(1, TOP_LEVEL + 1)
        )
    )


_FIELDS: list[tuple[str, str]] = [("job_key", ">i8"), ("level", ">i2"), ("bucket", ">i8")]
for _name in SERIES:
    if _name == SPARSE:
        _FIELDS += [(f"{_name}_first", ">i8"), (f"{_name}_count", ">i4")]
    _FIELDS += [(f"{_name}_non_finite", ">i4")]
    _FIELDS += [(f"{_name}_{part}", ">f8") for part in ("min", "max", "sum")]
_ROLLUPS = CopyFormat("rollups", _FIELDS)


def _rows_since(connection: Connection, job_key: int, before: int, rows: Rows) -> Run:
    """The rows after iteration `before`: these, and those in front of them that the book has."""
    first = int(rows["iteration"][0])
    parts = [_of(rows)]
    if before + 1 < first:
        found = read_columns(
            connection, iterations, ("iteration", *SERIES), Span(job_key, before + 1, first - 1)
        )
        if len(found["iteration"]) != first - 1 - before:
            return Run(first - 1, parts[0])
        missing = found[SPARSE].nulls
        values = np.stack([found[name].values for name in SERIES])
        present = np.ones(values.shape, dtype=bool)
        present[-1] = True if missing is None else ~missing
        parts.insert(0, of_rows(found["iteration"].values, values, present))
    return Run(before, chained(parts))


def _of(rows: Rows) -> Aggregates:
    values = np.stack([rows[name] for name in SERIES])
    present = np.ones(values.shape, dtype=bool)
    present[-1] = rows["has_grad_norm"]
    return of_rows(np.ascontiguousarray(rows["iteration"]), values, present)


def _stored_before(connection: Connection, job_key: int, before: int, last: int) -> dict[int, Run]:
    """By level: the buckets that a wider one, which is completed now, has parts of already."""
    wanted: list[tuple[int, int]] = []
    for level in range(1, TOP_LEVEL):
        wide = width_of(level + 1)
        if before // wide == last // wide:
            break
        first, end = before // wide * FACTOR, before // width_of(level)
        wanted += [(level, bucket) for bucket in range(first, end)]
    if not wanted:
        return {}
    found = connection.execute(
        select(rollups)
        .where(rollups.c.job_key == job_key, tuple_(rollups.c.level, rollups.c.bucket).in_(wanted))
        .order_by(rollups.c.level, rollups.c.bucket)
    ).all()
    return {
        level: _run([row for row in found if row.level == level])
        for level in {row.level for row in found}
    }


def _run(rows: Sequence[Row[Any]]) -> Run:
    """Rows of one level; where one is missing in their midst, what comes after it."""
    last = rows[-1].bucket
    kept = [row for place, row in enumerate(reversed(rows)) if row.bucket == last - place][::-1]

    def array(part: str, missing: float, kind: Any) -> Any:  # noqa: ANN401 - numpy's types
        cells = [[getattr(row, f"{name}_{part}", None) for row in kept] for name in SERIES]
        return np.array([[missing if c is None else c for c in line] for line in cells], kind)

    width = width_of(rows[-1].level)
    first = array("first", 0, np.int64)
    count = array("count", width, np.int64)
    first[:-1] = [row.bucket * width + 1 for row in kept]
    first[-1][count[-1] == 0] = NOWHERE
    return Run(
        kept[0].bucket,
        Aggregates(
            first=first,
            count=count,
            non_finite=array("non_finite", 0, np.int64),
            min=array("min", np.inf, np.float64),
            max=array("max", -np.inf, np.float64),
            sum=array("sum", 0.0, np.float64),
        ),
    )


def _copy(connection: Connection, job_key: int, levels: Sequence[tuple[int, Run]]) -> None:
    parts = chained([run.parts for _, run in levels])
    values: dict[str, NDArray[Any] | int] = {
        "job_key": job_key,
        "level": np.repeat(
            [level for level, _ in levels], [run.parts.buckets for _, run in levels]
        ),
        "bucket": np.concatenate([np.arange(run.first, run.end) for _, run in levels]),
    }
    nulls: dict[str, Bools] = {}
    for place, name in enumerate(SERIES):
        one = parts.of(place)
        if name == SPARSE:
            values |= {f"{name}_first": one.first, f"{name}_count": one.count}
            nulls[f"{name}_first"] = one.count == 0
        for part in ("non_finite", "min", "max", "sum"):
            values[f"{name}_{part}"] = getattr(one, part)
        nulls |= {f"{name}_min": one.without_finite, f"{name}_max": one.without_finite}
    _ROLLUPS.copy(connection, parts.buckets, values, nulls)
