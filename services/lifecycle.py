"""The only writer of a job's state: every move is one guarded UPDATE with its event beside it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, insert, null, select, update

from models.domain.lifecycle import FINISHED, MOVES, State
from models.tables import events, jobs, progress
from services.jsonb import storable


class MoveUnknown(RuntimeError):
    """The code asked for a move that MOVES does not list: a mistake of ours, not of a client."""

    def __init__(self, from_: State, to: State) -> None:
        super().__init__(f"there is no move from {from_} to {to}")


class Happening(NamedTuple):
    """An event to be: its type, the attempt it belongs to, and JSON-ready data."""

    type: str
    attempt: int | None
    data: Mapping[str, Any]


def move(
    connection: Connection,
    job_key: int,
    *,
    from_: State | Collection[State],
    to: State,
    attempt: int | None = None,
    data: Mapping[str, Any] | None = None,
    **columns: object,
) -> bool:
    """Bring a job from one of the states `from_` to `to`, and write the `state` event.

    `finished_at`, `started_at`, and what a job that is taken up again must lose (`stop_reason`,
    `error`, hashes) are set here. The job's row is locked until the transaction ends.

    Args:
        connection: the transaction; it is not committed here.
        job_key: the job.
        from_: the states that the job may be in.
        to: the state that it gets.
        attempt: the attempt whose doing it is, for the event.
        data: more for the event, beside `from` and `to`.
        columns: other columns of `jobs` to set (`stop_reason`, `error`, …).

    Returns:
        False where the job is in none of these states (a race was lost: normal and quiet).

    Raises:
        MoveUnknown: MOVES has no such move.

    """
    allowed = {from_} if isinstance(from_, State) else set(from_)
    for state in allowed:
        if to not in MOVES[state]:
            raise MoveUnknown(state, to)
    found = lock_job(connection, job_key)
    if found is None or found not in allowed:
        return False
    connection.execute(
        update(jobs)
        .where(jobs.c.key == job_key, jobs.c.state == found)
        .values(state=to, **_consequences(to), **columns)
    )
    happening = {"from": str(found), "to": str(to), **(data or {})}
    add_events(connection, job_key, [Happening("state", attempt, happening)])
    return True


def lock_job(connection: Connection, job_key: int) -> State | None:
    """Lock the job's row, the first in the order of locks, and tell its state.

    The lock lets other transactions insert rows that refer to the job: a flush, which starts
    at `progress`, never waits here.
    """
    state = connection.execute(
        select(jobs.c.state).where(jobs.c.key == job_key).with_for_update(key_share=True)
    ).scalar_one_or_none()
    return None if state is None else State(state)


def add_events(
    connection: Connection, job_key: int, happenings: Sequence[Happening | tuple[Any, ...]]
) -> int:
    """Number events and write them, in the order given.

    The counter stands on the `progress` row, locked until commit: ids commit in order.

    Returns:
        The id of the last one.

    """
    last: int = connection.execute(
        update(progress)
        .where(progress.c.job_key == job_key)
        .values(last_event=progress.c.last_event + len(happenings))
        .returning(progress.c.last_event)
    ).scalar_one()
    if happenings:
        first = last - len(happenings) + 1
        connection.execute(
            insert(events),
            [
                {
                    "job_key": job_key,
                    "id": number,
                    "type": kind,
                    "attempt": attempt,
                    "data": storable(data),
                }
                for number, (kind, attempt, data) in enumerate(happenings, start=first)
            ],
        )
    return last


def _consequences(to: State) -> dict[str, object]:
    if to in FINISHED:
        return {"finished_at": func.clock_timestamp()}
    if to is State.RUNNING:
        return {"started_at": func.coalesce(jobs.c.started_at, func.clock_timestamp())}
    return {
        "finished_at": None,
        "stop_reason": None,
        # Not None: that would be JSON's null, and the column would not be NULL.
        "error": null(),
        "loss_sha256": None,
        "weights_sha256": None,
    }
