"""Going back: what an attempt wrote after iteration k leaves the book, and the book says so."""

import math
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    case,
    delete,
    false,
    func,
    select,
    update,
)

from foundation.faults import Moment, reach
from models.domain.checkpoints import Resumed
from models.domain.errors import FenceLost
from models.tables import (
    artifacts,
    attempts,
    checkpoints,
    epochs,
    iterations,
    jobs,
    layer_readings,
    progress,
    summaries,
)
from services.layer_curves import rewind_layer_rollups
from services.lifecycle import Happening, add_events, lock_job
from services.metric_series import metrics_beyond, take_back
from services.rollups import rewind_rollups

_LAST_MEASURED = (
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "test_loss",
    "test_accuracy",
)


def resume_at(
    connection: Connection, job_key: int, attempt: int, resumed: Resumed
) -> tuple[str, ...]:
    """Make the book agree with where an attempt goes on, under its fence.

    What was written after that iteration is taken back; where nothing was, as after a pause,
    the book stays as it is, and there is no rewind. A job that goes on among machines that are
    not alike is not reproducible any more; one that starts anew is again what its spec says.

    Returns:
        The files that no row names any more, to be deleted after the commit.

    Raises:
        FenceLost: the attempt does not own the job.

    """
    # In the order of locks: the job first, then its progress.
    lock_job(connection, job_key)
    reached = _cross_fence(connection, job_key, attempt)
    connection.execute(
        update(jobs)
        .where(jobs.c.key == job_key)
        .values(reproducible=_as_made() if resumed.like else false())
    )
    connection.execute(
        update(attempts)
        .where(attempts.c.job_key == job_key, attempts.c.number == attempt)
        .values(first_iteration=resumed.iteration + 1)
    )
    booked = select(func.count()).select_from(epochs).where(epochs.c.job_key == job_key)
    beyond = metrics_beyond(connection, job_key, resumed.iteration, resumed.epochs)
    if (reached, connection.scalar(booked)) == (resumed.iteration, resumed.epochs) and not beyond:
        return ()
    return rewind(connection, job_key, attempt, resumed.iteration, resumed.epochs)


def _as_made() -> ColumnElement[bool]:
    """As submit has it: code of a team's own is not in the spec."""
    return and_(jobs.c.spec["deterministic"].as_boolean(), func.cardinality(jobs.c.packages) == 0)


def rewind(
    connection: Connection, job_key: int, attempt: int, to_iteration: int, to_epochs: int
) -> tuple[str, ...]:
    """Take the book back to `to_iteration` and its first `to_epochs` epochs, under the fence.

    Iterations, epochs, layer readings, metrics and checkpoints after it go; progress and summary
    are those of the rows that stay; the rewind number rises, so that cursors made before are known
    to be stale; a `rewound` event tells from where and to where. Artifacts go, too: they were made
    at an end that was none.
    The iteration alone does not tell the epochs: a checkpoint may have been written at an
    epoch's last iteration before that epoch was evaluated and booked.

    Returns:
        The files that no row names any more, to be deleted after the commit.

    Raises:
        FenceLost: the attempt does not own the job.

    """
    reached = _cross_fence(connection, job_key, attempt)
    for readings in (iterations, layer_readings):
        connection.execute(
            delete(readings).where(
                readings.c.job_key == job_key, readings.c.iteration > to_iteration
            )
        )
    beyond = metrics_beyond(connection, job_key, to_iteration, to_epochs)
    take_back(connection, job_key, beyond)
    connection.execute(
        delete(epochs).where(epochs.c.job_key == job_key, epochs.c.epoch > to_epochs)
    )
    rewind_rollups(connection, job_key, to_iteration)
    rewind_layer_rollups(connection, job_key, to_iteration)
    reach(Moment.REWIND)
    superfluous = _forget_files(connection, job_key, to_iteration)
    _restore_progress(connection, job_key, to_iteration)
    _restore_summary(connection, job_key, to_iteration)
    data = {"from": reached, "to": to_iteration}
    add_events(connection, job_key, [Happening("rewound", attempt, data)])
    return superfluous


def _cross_fence(connection: Connection, job_key: int, attempt: int) -> int:
    """Lock the job's progress for the attempt; returns the iteration that the book reaches."""
    reached: int | None = connection.execute(
        select(progress.c.iteration)
        .where(progress.c.job_key == job_key, progress.c.attempt == attempt)
        .with_for_update(key_share=True)
    ).scalar_one_or_none()
    if reached is None:
        raise FenceLost(job_key, attempt)
    return reached


def _forget_files(connection: Connection, job_key: int, to_iteration: int) -> tuple[str, ...]:
    gone = connection.execute(
        delete(checkpoints)
        .where(checkpoints.c.job_key == job_key, checkpoints.c.iteration > to_iteration)
        .returning(checkpoints.c.uri)
    ).scalars()
    made = connection.execute(
        delete(artifacts).where(artifacts.c.job_key == job_key).returning(artifacts.c.uri)
    ).scalars()
    return (*gone, *made)


def _restore_progress(connection: Connection, job_key: int, to_iteration: int) -> None:
    def of_last_row(name: str) -> Any:  # noqa: ANN401 - a scalar subquery of the column's type
        return (
            select(iterations.c[name])
            .where(iterations.c.job_key == job_key, iterations.c.iteration == to_iteration)
            .scalar_subquery()
        )

    connection.execute(
        update(progress)
        .where(progress.c.job_key == job_key)
        .values(
            iteration=to_iteration,
            rows=to_iteration,
            epoch=func.coalesce(of_last_row("epoch"), 0),
            batch=func.coalesce(of_last_row("batch"), 0),
            latest_loss=of_last_row("loss"),
            latest_lr=of_last_row("lr"),
            latest_at=None if to_iteration == 0 else progress.c.latest_at,
            iterations_per_second=None,
            rewinds=progress.c.rewinds + 1,
        )
    )


def _restore_summary(connection: Connection, job_key: int, to_iteration: int) -> None:
    def last(name: str) -> Any:  # noqa: ANN401 - a scalar subquery of the column's type
        column = epochs.c[name]
        return (
            select(column)
            .where(epochs.c.job_key == job_key, column.is_not(None))
            .order_by(epochs.c.epoch.desc())
            .limit(1)
            .scalar_subquery()
        )

    # A loss that is not finite is the best of nothing; PostgreSQL's NaN is above infinity.
    finite = func.abs(epochs.c.train_loss) < math.inf
    smallest = (
        select(func.min(epochs.c.train_loss))
        .where(epochs.c.job_key == job_key, finite)
        .scalar_subquery()
    )
    stays = summaries.c.best_iteration <= to_iteration
    connection.execute(
        update(summaries)
        .where(summaries.c.job_key == job_key)
        .values(
            final_loss=None,
            best_loss=smallest,
            **{name: last(name) for name in _LAST_MEASURED},
            **{
                name: case((stays, summaries.c[name]))
                for name in ("best_metric", "best_value", "best_epoch", "best_iteration")
            },
        )
    )
