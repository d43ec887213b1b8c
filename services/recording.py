"""The flush: one transaction in which an attempt writes what it has done.

It starts at the fence. `progress.attempt` names the attempt that owns the job; an UPDATE that
finds another number, or none, changes nothing, and the attempt must stop at once. The same
UPDATE renews the lease, moves the progress on and brings back what somebody wants of the job.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy import Connection, case, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from foundation.faults import Moment, reach
from models.domain.errors import FenceLost
from models.domain.lifecycle import Wish
from models.rows import Rows
from models.tables import artifacts, attempts, checkpoints, logs, progress
from services.claims import database_session
from services.copying import copy_layer_readings
from services.fence import cross_fence
from services.layer_curves import write_layer_rollups
from services.lifecycle import Happening
from services.metric_series import write_metrics
from services.pages import Page, Record
from services.rewinding import resume_at
from services.rollups import Tails, write_rows


class RowsBroken(RuntimeError):
    """The rows do not go on where the book ends: a trainer's mistake that must not be written."""

    def __init__(self, job_key: int, last: int, first: int) -> None:
        super().__init__(f"job #{job_key}: after row {last} comes row {first}")


class CheckpointAhead(RuntimeError):
    """A checkpoint would be booked before its rows: who went on from it would leave a gap."""

    def __init__(self, job_key: int, last: int, checkpoint: int) -> None:
        super().__init__(f"job #{job_key}: a checkpoint at {checkpoint}, after row {last}")


@dataclass(frozen=True)
class Owner:
    """Who writes: an attempt, how long its lease is, and what it remembers of its last flush."""

    job_key: int
    attempt: int
    lease_seconds: float
    tails: Tails = field(default_factory=Tails, compare=False, repr=False)


@dataclass(frozen=True)
class Answer:
    """What the fence said.

    Args:
        wanted: what somebody wants of the job.
        wanted_seconds: how long ago they said so.
        number: the flush's, to ask for its fate where a commit's answer is lost.
        superseded: files of checkpoints that the commit makes superfluous.

    """

    wanted: Wish | None
    wanted_seconds: float
    number: int
    superseded: tuple[str, ...] = ()


def flush(connection: Connection, owner: Owner, page: Page) -> Answer:
    """Write a page under the fence, and renew the lease; an empty page is a heartbeat.

    Where the page tells that training goes on at k, the book is taken back to k first.

    Raises:
        FenceLost: the attempt does not own the job any more; nothing is written.
        RowsBroken: the first row is not the one after the last in the book, or another does
            not follow the one before it.
        CheckpointAhead: a checkpoint comes before its rows.
        MetricsBroken: a metric can't be booked.

    """
    if page.rows is not None:
        _check_unbroken(owner.job_key, page.rows["iteration"])
    superseded: tuple[str, ...] = ()
    if page.resumed is not None:
        owner.tails.forget()
        superseded = resume_at(connection, owner.job_key, owner.attempt, page.resumed)
    job_key = owner.job_key
    crossed = cross_fence(
        connection,
        job_key,
        owner.attempt,
        page,
        lease_seconds=owner.lease_seconds,
        happenings=happenings_of(page, owner.attempt),
    )
    if crossed is None:
        raise _refused(connection, owner, page.rows)
    _check_checkpoints(job_key, crossed.iteration, page.checkpoints)
    if page.attempt or page.new_session:
        _update_attempt(connection, owner, page)
    if page.rows is not None:
        reach(Moment.BEFORE_COPY)
        write_rows(connection, job_key, page.rows, owner.tails)
        reach(Moment.AFTER_COPY)
    copy_layer_readings(
        connection, job_key, [(each.iteration, each.readings) for each in page.layers]
    )
    measured = [each.iteration for each in page.layers]
    write_layer_rollups(connection, job_key, page.layers_every, measured)
    write_metrics(connection, job_key, crossed.iteration, page.metrics)
    superseded += _write_files(connection, owner, page)
    _write_logs(connection, owner, page, first=crossed.last_line - len(page.logs) + 1)
    return Answer(
        wanted=crossed.wanted,
        wanted_seconds=crossed.wanted_seconds,
        number=crossed.flushes,
        superseded=superseded,
    )


def committed(connection: Connection, owner: Owner, number: int) -> bool:
    """Tell the fate of the attempt's last flush, whose commit was sent and never answered.

    The book itself tells, not `pg_xact_status`: a server that has crashed may give a lost
    transaction's number to another one, which then commits. Taking the lock waits for the flush
    where it still runs, so what is read is final.
    """
    connection.execute(
        select(progress.c.attempt)
        .where(progress.c.job_key == owner.job_key)
        .with_for_update(key_share=True)
    )
    # Where the attempt has ended, by this flush or by somebody else, others may have flushed since.
    is_owner = progress.c.attempt == owner.attempt
    reached: int | None = connection.execute(
        select(case((is_owner, progress.c.flushes), else_=attempts.c.flushes))
        .join(attempts, attempts.c.job_key == progress.c.job_key)
        .where(progress.c.job_key == owner.job_key, attempts.c.number == owner.attempt)
    ).scalar_one_or_none()
    return reached is not None and reached >= number


def happenings_of(page: Page, attempt: int) -> list[Happening]:
    """The events that a page amounts to, in the order in which they are numbered."""
    return [
        *(Happening("epoch", attempt, epoch) for epoch in page.epochs),
        *(
            Happening("checkpoint", attempt, {name: checkpoint[name] for name in _CHECKPOINT_EVENT})
            for checkpoint in page.checkpoints
        ),
        *page.happenings,
    ]


def write_artifacts(
    connection: Connection, job_key: int, attempt: int, made: Sequence[Record]
) -> None:
    """Book artifacts (name, kind, uri, bytes, sha256); one of the same name gives way."""
    for artifact in made:
        values = {name: artifact[name] for name in _ARTIFACT} | {"attempt": attempt}
        connection.execute(
            upsert(artifacts)
            .values(job_key=job_key, **values)
            .on_conflict_do_update(
                constraint="pk_artifacts",
                set_={**values, "created_at": func.clock_timestamp()},
            )
        )


_CHECKPOINT_EVENT = ("iteration", "bytes", "sha256")
_CHECKPOINT = ("iteration", "uri", "bytes", "sha256")
_ARTIFACT = ("name", "kind", "uri", "bytes", "sha256")


def _check_unbroken(job_key: int, iterations: Rows) -> None:
    """Progress counts in ranges, so a gap within a page would never show again."""
    breaks = np.flatnonzero(np.diff(iterations) != 1)
    if len(breaks):
        at = int(breaks[0])
        raise RowsBroken(job_key, int(iterations[at]), int(iterations[at + 1]))


def _check_checkpoints(job_key: int, last: int, booked: Sequence[Record]) -> None:
    newest = max((int(each["iteration"]) for each in booked), default=0)
    if newest > last:
        raise CheckpointAhead(job_key, last, newest)


def _refused(connection: Connection, owner: Owner, rows: Rows | None) -> FenceLost | RowsBroken:
    last = connection.execute(
        select(progress.c.iteration).where(
            progress.c.job_key == owner.job_key, progress.c.attempt == owner.attempt
        )
    ).scalar_one_or_none()
    if last is None or rows is None:
        return FenceLost(owner.job_key, owner.attempt)
    return RowsBroken(owner.job_key, last, int(rows["iteration"][0]))


def _update_attempt(connection: Connection, owner: Owner, page: Page) -> None:
    values = dict(page.attempt)
    if page.new_session:
        values |= database_session()
    connection.execute(
        update(attempts)
        .where(attempts.c.job_key == owner.job_key, attempts.c.number == owner.attempt)
        .values(**values)
    )


def _write_files(connection: Connection, owner: Owner, page: Page) -> tuple[str, ...]:
    write_artifacts(connection, owner.job_key, owner.attempt, page.artifacts)
    replaced: list[str] = []
    for checkpoint in page.checkpoints:
        replaced += _write_checkpoint(connection, owner, checkpoint)
    if not page.checkpoints:
        return ()
    return (*replaced, *_supersede(connection, owner.job_key, page.keep_checkpoints))


def _write_checkpoint(connection: Connection, owner: Owner, checkpoint: Record) -> Sequence[str]:
    """Book a checkpoint; one of the same iteration gives way, and its file, where it has its own.

    A program may save at an epoch's last iteration, book the epoch, and save again.
    """
    mine = {"job_key": owner.job_key, "attempt": owner.attempt}
    facts = {name: checkpoint[name] for name in _CHECKPOINT}
    replaced = connection.scalars(
        delete(checkpoints)
        .where(
            checkpoints.c.job_key == owner.job_key,
            checkpoints.c.attempt == owner.attempt,
            checkpoints.c.iteration == facts["iteration"],
        )
        .returning(checkpoints.c.uri)
    ).all()
    connection.execute(insert(checkpoints).values(**mine, **facts))
    return [uri for uri in replaced if uri != facts["uri"]]


def _supersede(connection: Connection, job_key: int, keep: int) -> tuple[str, ...]:
    newest = (
        select(checkpoints.c.iteration, checkpoints.c.attempt)
        .where(checkpoints.c.job_key == job_key)
        .order_by(checkpoints.c.iteration.desc(), checkpoints.c.attempt.desc())
        .limit(keep)
    )
    place = func.row(checkpoints.c.iteration, checkpoints.c.attempt)
    return tuple(
        connection.execute(
            checkpoints.delete()
            .where(checkpoints.c.job_key == job_key, place.not_in(newest))
            .returning(checkpoints.c.uri)
        ).scalars()
    )


def _write_logs(connection: Connection, owner: Owner, page: Page, *, first: int) -> None:
    if page.logs:
        connection.execute(
            insert(logs),
            [
                {
                    "job_key": owner.job_key,
                    "line": number,
                    "attempt": owner.attempt,
                    "stream": line.stream,
                    "text": line.text,
                }
                for number, line in enumerate(page.logs, start=first)
            ],
        )
