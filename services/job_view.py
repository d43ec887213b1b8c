"""From rows of the book to a job as the API shows it: no SQL here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from models.domain.lifecycle import State
from models.domain.plan import Plan
from models.domain.spec import JobSpec
from models.schemas.job import (
    Attempt,
    Best,
    BookState,
    Job,
    JobError,
    JobErrorItem,
    JobItem,
    JobProgress,
    Latest,
    Summary,
    WaitingFor,
)


@dataclass(frozen=True, slots=True)
class Wait:
    """Where a queued job stands in its queue (from 1), and what it waits for."""

    position: int
    waiting_for: WaitingFor


def whole_job(row: Row[Any], attempts: Sequence[Row[Any]], wait: Wait | None) -> Job:
    return Job(
        **_common(row, wait),
        attempts=[_attempt(each, row.iteration) for each in attempts],
        error=None if row.error is None else _error(row.error),
    )


def job_item(
    row: Row[Any],
    attempts: Sequence[Row[Any]] | None,
    wait: Wait | None,
    *,
    with_traceback: bool,
) -> JobItem:
    error = None
    if row.error is not None:
        error = _error(row.error) if with_traceback else _error_item(row.error)
    return JobItem(
        **_common(row, wait),
        attempts=None if attempts is None else [_attempt(each, row.iteration) for each in attempts],
        error=error,
    )


def _common(row: Row[Any], wait: Wait | None) -> dict[str, Any]:
    """Everything but `attempts` and `error`: columns of the same name, and what is made of them."""
    return {
        **{name: getattr(row, name) for name in _SAME_NAME},
        "spec": _in_order(row.spec, _SPEC),
        "plan": _in_order(row.plan, _PLAN),
        "waiting_for": wait and wait.waiting_for,
        "queue_position": wait and wait.position,
        "progress": progress_of(row),
        "latest": latest_of(row),
        "summary": _summary(row),
        "metrics": row.metrics,
        "book": BookState(
            rows=row.rows,
            expected=row.iteration,
            complete=row.rows == row.iteration,
            loss_sha256=row.loss_sha256,
            weights_sha256=row.weights_sha256,
            archived_at=row.archived_at,
        ),
    }


def _in_order(stored: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Put back the order of the fields, which JSONB does not keep."""
    known = {name: stored[name] for name in names if name in stored}
    return known | stored


_SPEC, _PLAN = tuple(JobSpec.model_fields), tuple(Plan.model_fields)
_SAME_NAME = (
    "id",
    "name",
    "project",
    "notes",
    "tags",
    "parent",
    "created_by",
    "state",
    "wanted",
    "priority",
    "reproducible",
    "spec_sha256",
    "stop_reason",
    "created_at",
    "started_at",
    "finished_at",
)

_SUMMARY = (
    "final_loss",
    "best_loss",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "test_loss",
    "test_accuracy",
)


def progress_of(row: Row[Any]) -> JobProgress:
    total: int = row.plan["iterations_total"]
    speed: float | None = row.iterations_per_second
    running = row.state == State.RUNNING
    eta = round((total - row.iteration) / speed, 1) if running and speed else None
    return JobProgress(
        phase=row.phase,
        epoch=row.epoch,
        batch=row.batch,
        iteration=row.iteration,
        iterations_total=total,
        fraction=round(row.iteration / total, 4) if total else 0.0,
        iterations_per_second=speed,
        eta_seconds=eta,
    )


def latest_of(row: Row[Any]) -> Latest | None:
    if row.latest_at is None:
        return None
    return Latest(loss=row.latest_loss, lr=row.latest_lr, at=row.latest_at)


def _summary(row: Row[Any]) -> Summary:
    best = None
    if row.best_metric is not None:
        best = Best(
            metric=row.best_metric,
            value=row.best_value,
            epoch=row.best_epoch,
            iteration=row.best_iteration,
        )
    return Summary(**{name: getattr(row, name) for name in _SUMMARY}, best=best)


def _attempt(row: Row[Any], iteration: int) -> Attempt:
    """One that is open has reached what its job has; once it ends that is written down."""
    shown = {name: getattr(row, name) for name in Attempt.model_fields}
    shown["error"] = None if row.error is None else _error(row.error)
    if row.ended_at is None:
        shown["last_iteration"] = iteration if iteration >= row.first_iteration else None
    return Attempt(**shown)


def _error(stored: dict[str, Any]) -> JobError:
    return JobError(
        type=stored["type"], message=stored["message"], traceback=stored.get("traceback")
    )


def _error_item(stored: dict[str, Any]) -> JobErrorItem:
    return JobErrorItem(type=stored["type"], message=stored["message"])
