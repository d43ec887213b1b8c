"""A free slot takes the best queued job that fits its device: the database decides, once."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Text,
    and_,
    cast,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from foundation.faults import Moment, reach
from models.domain.checkpoints import Kept
from models.domain.lifecycle import Phase, State
from models.tables import attempts, checkpoints, jobs, progress
from services.lifecycle import move

CPU = "cpu"
CUDA = "cuda"
LOCK_TIMEOUT = "1s"


@dataclass(frozen=True)
class Slot:
    """One of a worker's places for a job.

    Args:
        number: counted from 0 within the worker.
        device: "cpu" or "cuda:N".
        packages: those whose code a job may name here.

    """

    worker: str
    host: str
    number: int
    device: str
    packages: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Claim:
    """A job that an attempt owns from now on, and what the attempt needs to know of it.

    Args:
        attempt: the attempt's number, which is the fence.
        started_at: when the attempt began, by the database's clock.
        device: where the job runs: the slot's device, or "cpu" where the spec says so.
        iteration: the iterations that are in the book already.
        running_seconds: the time that earlier attempts have run.
        checkpoints: what it can go on from, newest first.

    """

    job_key: int
    job_id: UUID
    attempt: int
    started_at: datetime
    device: str
    spec: dict[str, Any]
    plan: dict[str, Any]
    iteration: int
    running_seconds: float
    checkpoints: tuple[Kept, ...] = ()


def fitting(device: str) -> tuple[str, ...]:
    """The values of a job's `device` that a slot with this device can serve."""
    return ("auto", CPU) if device == CPU else ("auto", CPU, CUDA, device)


def claim(connection: Connection, queue: str, slot: Slot, lease_seconds: float) -> Claim | None:
    """Take the best queued job that fits the slot: highest priority first, then oldest.

    Rows that another slot is claiming right now are skipped, not waited for. The job becomes
    `running`, with a new attempt, a lease and the event, in the caller's transaction.

    Returns:
        None where nothing fits.

    """
    found = connection.execute(
        select(jobs.c.key, jobs.c.id, jobs.c.device, jobs.c.spec, jobs.c.plan, jobs.c.attempts_made)
        .where(waiting_for(queue, [slot.device], slot.packages))
        .order_by(jobs.c.priority.desc(), jobs.c.key)
        .limit(1)
        .with_for_update(of=jobs, skip_locked=True)
    ).one_or_none()
    if found is None:
        return None
    attempt = found.attempts_made + 1
    device = CPU if found.device == CPU else slot.device
    data = {"worker": slot.worker, "device": device}
    moved = move(
        connection,
        found.key,
        from_=State.QUEUED,
        to=State.RUNNING,
        attempt=attempt,
        data=data,
        attempts_made=attempt,
        not_before=None,
    )
    if not moved:
        return None
    owned = _own(connection, found.key, attempt, lease_seconds)
    started_at = _open_attempt(
        connection, found.key, attempt, slot=slot, device=device, first=owned.iteration + 1
    )
    kept = booked_checkpoints(connection, found.key)
    reach(Moment.CLAIM)
    return Claim(
        job_key=found.key,
        job_id=found.id,
        attempt=attempt,
        started_at=started_at,
        device=device,
        spec=found.spec,
        plan=found.plan,
        iteration=owned.iteration,
        running_seconds=owned.running_seconds,
        checkpoints=tuple(kept),
    )


def take_over(connection: Connection, claimed: Claim, slot: Slot, lease_seconds: float) -> bool:
    """Own a job whose claim was sent to be committed and never answered; renew its lease.

    Job and number do not name a claim: one that was rolled back leaves its number to the next,
    and that may be anybody's. With the slot and the moment they do.

    Args:
        connection: the transaction. Where its commit is not answered either, ask again.
        claimed: what `claim` returned.
        slot: whose claim it was.
        lease_seconds: from now on.

    Returns:
        False where the claim was never committed, or somebody has ended its attempt since.

    Raises:
        sqlalchemy.exc.OperationalError: the claim's own session still holds the job: ask again.

    """
    connection.execute(
        text("SELECT set_config('lock_timeout', :timeout, true)"), {"timeout": LOCK_TIMEOUT}
    )
    # Taking the lock waits for the claim where it still runs, so what is read is final.
    owner = connection.scalar(
        select(progress.c.attempt)
        .where(progress.c.job_key == claimed.job_key)
        .with_for_update(key_share=True)
    )
    if owner != claimed.attempt:
        return False
    mine = connection.execute(
        update(attempts)
        .where(
            attempts.c.job_key == claimed.job_key,
            attempts.c.number == claimed.attempt,
            attempts.c.worker == slot.worker,
            attempts.c.host == slot.host,
            attempts.c.slot == slot.number,
            attempts.c.started_at == claimed.started_at,
        )
        .values(**database_session())
    )
    if mine.rowcount == 0:
        return False
    connection.execute(
        update(progress)
        .where(progress.c.job_key == claimed.job_key)
        .values(lease_until=func.clock_timestamp() + timedelta(seconds=lease_seconds))
    )
    return True


def booked_checkpoints(connection: Connection, job_key: int) -> list[Kept]:
    """The checkpoints that a job can go on from, newest first."""
    found = connection.execute(
        select(checkpoints.c.iteration, checkpoints.c.uri, checkpoints.c.sha256)
        .where(checkpoints.c.job_key == job_key)
        .order_by(checkpoints.c.iteration.desc(), checkpoints.c.attempt.desc())
    )
    return [Kept(*row) for row in found]


def more_wait(
    connection: Connection,
    queue: str,
    devices: frozenset[str],
    packages: Collection[str] = (),
) -> bool:
    """Whether another job of the queue would fit one of these devices and these packages."""
    first = select(jobs.c.key).where(waiting_for(queue, devices, packages))
    return bool(connection.scalar(select(first.exists())))


def waiting_for(
    queue: str, devices: Collection[str], packages: Collection[str] = ()
) -> ColumnElement[bool]:
    """The condition that a job is queued, due, and fits a slot with one of the devices.

    It names no code but of these packages.
    """
    fits = {wanted for device in devices for wanted in fitting(device)}
    return and_(
        jobs.c.queue == queue,
        jobs.c.state == State.QUEUED,
        jobs.c.device.in_(fits),
        names_only(packages),
        or_(jobs.c.not_before.is_(None), jobs.c.not_before <= func.clock_timestamp()),
    )


def names_only(packages: Collection[str]) -> ColumnElement[bool]:
    """The condition that a job names no code but of these packages."""
    named: ColumnElement[bool] = jobs.c.packages.contained_by(cast(sorted(packages), ARRAY(Text)))
    return named


def _own(connection: Connection, job_key: int, attempt: int, lease_seconds: float) -> Any:  # noqa: ANN401 - a row
    return connection.execute(
        update(progress)
        .where(progress.c.job_key == job_key)
        .values(
            attempt=attempt,
            lease_until=func.clock_timestamp() + timedelta(seconds=lease_seconds),
            phase=Phase.START,
        )
        .returning(progress.c.iteration, progress.c.running_seconds)
    ).one()


def _open_attempt(
    connection: Connection, job_key: int, attempt: int, *, slot: Slot, device: str, first: int
) -> datetime:
    started_at: datetime = connection.execute(
        insert(attempts)
        .values(
            job_key=job_key,
            number=attempt,
            worker=slot.worker,
            host=slot.host,
            slot=slot.number,
            device=device,
            first_iteration=first,
            **database_session(),
        )
        .returning(attempts.c.started_at)
    ).scalar_one()
    return started_at


def database_session() -> dict[str, ColumnElement[Any]]:
    """Values for `backend_pid` and `backend_start`: the session that runs the statement."""
    mine = "(SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())"
    return {
        "backend_pid": func.pg_backend_pid(),
        "backend_start": text(mine),  # type: ignore[dict-item]
    }
