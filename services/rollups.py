"""Rollups: written by the flush that completes a bucket, once, and never changed.

Level L has buckets of `base` * 4^(L - 1) iterations; bucket b of a width w holds iterations
b * w + 1 to (b + 1) * w. A level is made of the one below it, level 1 of the rows. What is not
complete stands in no rollup: a curve's open end is read from finer levels and from the rows
(services/curves.py), and so is what a book from before there were rollups has.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
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
from services.copy_format import NOTHING, CopyFormat, copying
from services.copying import ROWS, encode_rows
from services.packed import Span, nulls_of, read_columns

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


@dataclass
class Tails:
    """What an attempt's next flush needs of the ones before, so that it need not read it again.

    It is good for a flush that goes on where it ends, whatever became of the flush that left it:
    one that goes on there finds the fence only where that one was committed.

    Attributes:
        at: the iteration that it ends at; None: nothing is known.
        rows: after the last complete bucket of level 1.
        levels: by level, the buckets after the last complete one of the next level.

    """

    at: int | None = None
    rows: Run | None = None
    levels: dict[int, Run] = field(default_factory=dict)

    def forget(self) -> None:
        self.at = None


def write_rows(connection: Connection, job_key: int, rows: Rows, tails: Tails) -> None:
    """Write rows that go on where the book ends, and the rollups that they complete.

    While the database writes the rows, the rollups are made. They follow in the same statement.
    """
    before = int(rows["iteration"][0]) - 1
    if tails.at != before:
        _load(connection, job_key, before, tails)
    completes = before // BASE != (before + len(rows)) // BASE
    with copying(connection, ROWS, *([_ROLLUPS] if completes else [])) as send:
        send(encode_rows(job_key, rows))
        levels = _advance(tails, Run(before, _of(rows)))
        if completes:
            send(_ROLLUPS.encode(*_written(job_key, levels)) if levels else NOTHING)


def _advance(tails: Tails, rows: Run) -> list[tuple[int, Run]]:
    """Add rows, and return level by level what they complete."""
    run = rows if tails.rows is None else _after(tails.rows, rows)
    tails.at = rows.end
    tails.rows = _rest(run, BASE)
    levels: list[tuple[int, Run]] = []
    wide = completed(run, BASE)
    for level in range(1, TOP_LEVEL + 1):
        if wide is None:
            break
        levels.append((level, wide))
        earlier = tails.levels.get(level)
        run = wide if earlier is None else _after(earlier, wide)
        tails.levels[level] = _rest(run, FACTOR)
        wide = completed(run, FACTOR)
    return levels


def _after(earlier: Run, run: Run) -> Run:
    """Join two runs; where one does not go on from the other, the earlier is of no use."""
    if earlier.end != run.first:
        return run
    return Run(earlier.first, chained([earlier.parts, run.parts]))


def _rest(run: Run, each: int) -> Run:
    """What lies after the last border of the wider buckets."""
    begin = max(run.first, run.end // each * each)
    return Run(begin, run.parts.part(slice(begin - run.first, None)))


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


def _load(connection: Connection, job_key: int, at: int, tails: Tails) -> None:
    """Read what stands in the book up to iteration `at` and in no bucket of the next level."""
    tails.rows = _read_rows(connection, job_key, at // BASE * BASE, at)
    tails.levels = _read_levels(connection, job_key, at)


def _read_rows(connection: Connection, job_key: int, after: int, last: int) -> Run | None:
    if after == last:
        return None
    span = Span(job_key, after + 1, last)
    found = read_columns(connection, iterations, ("iteration", *SERIES), span)
    values = np.stack([found[name].values for name in SERIES])
    present = np.ones(values.shape, dtype=bool)
    present[-1] = ~nulls_of(found[SPARSE])
    return Run(last - values.shape[1], of_rows(found["iteration"].values, values, present))


def _of(rows: Rows) -> Aggregates:
    values = np.stack([rows[name] for name in SERIES])
    present = np.ones(values.shape, dtype=bool)
    present[-1] = rows["has_grad_norm"]
    return of_rows(np.ascontiguousarray(rows["iteration"]), values, present)


def _read_levels(connection: Connection, job_key: int, at: int) -> dict[int, Run]:
    wanted = [
        (level, bucket)
        for level in range(1, TOP_LEVEL)
        for bucket in range(at // width_of(level + 1) * FACTOR, at // width_of(level))
    ]
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


def _written(
    job_key: int, levels: Sequence[tuple[int, Run]]
) -> tuple[int, dict[str, NDArray[Any] | int], dict[str, Bools]]:
    """How many buckets, their columns, and where those are NULL."""
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
        nothing = one.without_finite
        nulls |= {f"{name}_min": nothing, f"{name}_max": nothing}
    return parts.buckets, values, nulls
