"""From rows of the book to a job as the API shows it: no SQL here.

A job is made as a document: dictionaries with the contract's names in its order, and values that
a writer of JSON knows. A list's items are written as they are: to make models of a hundred jobs
takes as long as to read them. Where one job is shown, the models of models/schemas/job.py are made
of its document.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue
from sqlalchemy import RowMapping

from models.domain.lifecycle import State
from models.domain.plan import Plan
from models.domain.spec import JobSpec, ProgramSpec
from models.schemas.job import Attempt, Job, WaitingFor
from models.schemas.numbers import json_number

Document = dict[str, Any]

SLOWEST = 1e-9
"""Iterations a second, below which nothing is said of how long the rest takes."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Where a queued job stands in its queue (from 1), and what it waits for."""

    position: int
    waiting_for: WaitingFor


def whole_job(row: RowMapping, attempts: Sequence[RowMapping], wait: Wait | None) -> Job:
    return Job(**job_document(row, attempts, wait, with_traceback=True))


def job_document(
    row: RowMapping,
    attempts: Sequence[RowMapping] | None,
    wait: Wait | None,
    *,
    with_traceback: bool,
) -> Document:
    """Show a job as `JobItem` has it, in its order.

    Args:
        row: of `jobs`, `progress` and `summaries`.
        attempts: the job's; None where they are left out.
        wait: of a job that is queued.
        with_traceback: whether its error has one.

    """
    shown = {
        **{name: row[name] for name in _BEFORE},
        "waiting_for": wait and wait.waiting_for.model_dump(),
        "queue_position": wait and wait.position,
        "reproducible": row["reproducible"],
        "spec": _in_order(row["spec"], _PROGRAM if "program" in row["spec"] else _SPEC),
        "spec_sha256": row["spec_sha256"],
        "plan": _in_order(row["plan"], _PLAN),
        "progress": progress_of(row),
        "latest": latest_of(row),
        "summary": _summary(row),
        "metrics": row["metrics"] and _metrics(row["metrics"]),
        "book": {
            "rows": row["rows"],
            "expected": row["iteration"],
            "complete": row["rows"] == row["iteration"],
            "loss_sha256": row["loss_sha256"],
            "weights_sha256": row["weights_sha256"],
            "archived_at": row["archived_at"],
        },
        "attempts": None
        if attempts is None
        else [_attempt(each, row["iteration"]) for each in attempts],
        "stop_reason": row["stop_reason"],
        "error": _error(row["error"], with_traceback=with_traceback),
        "created_at": row["created_at"],
        "started_at": row["started_at"],
        "finished_at": row["finished_at"],
    }
    for name in ("metrics", "attempts"):
        if shown[name] is None:
            del shown[name]
    return shown


def _in_order(stored: Document, names: Sequence[str]) -> Document:
    """Put back the order of the fields, which JSONB does not keep."""
    known = {name: stored[name] for name in names if name in stored}
    return known if len(known) == len(stored) else known | stored


_SPEC = tuple(JobSpec.model_fields)
_PROGRAM = tuple(ProgramSpec.model_fields)
_PLAN = tuple(Plan.model_fields)
_ATTEMPT = tuple(Attempt.model_fields)
_BEFORE = (
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


def progress_of(row: RowMapping) -> Document:
    total: int | None = row["plan"]["iterations_total"]
    speed: float | None = row["iterations_per_second"]
    eta = None
    running = row["state"] == State.RUNNING
    if running and speed is not None and speed > SLOWEST and total is not None:
        # A program may make more than it said.
        eta = round(max(0, total - row["iteration"]) / speed, 1)
    return {
        "phase": row["phase"],
        "epoch": row["epoch"],
        "batch": row["batch"],
        "iteration": row["iteration"],
        "iterations_total": total,
        "fraction": None if total is None else _share(row["iteration"], total),
        "iterations_per_second": json_number(speed),
        "eta_seconds": eta,
    }


def _share(iteration: int, total: int) -> float:
    return min(1.0, round(iteration / total, 4)) if total else 0.0


def latest_of(row: RowMapping) -> Document | None:
    if row["latest_at"] is None:
        return None
    return {
        "loss": json_number(row["latest_loss"]),
        "lr": json_number(row["latest_lr"]),
        "at": row["latest_at"],
    }


def _summary(row: RowMapping) -> Document:
    best = None
    if row["best_metric"] is not None:
        best = {
            "metric": row["best_metric"],
            "value": json_number(row["best_value"]),
            "epoch": row["best_epoch"],
            "iteration": row["best_iteration"],
        }
    return {**{name: json_number(row[name]) for name in _SUMMARY}, "best": best}


def _metrics(stored: Mapping[str, Mapping[str, JsonValue]]) -> Document:
    """PostgreSQL writes whole floats without a point; its words for the others are ours."""
    return {
        name: {each: _float(value) if each != "count" else value for each, value in figures.items()}
        for name, figures in stored.items()
    }


def _float(value: JsonValue) -> JsonValue:
    return float(value) if isinstance(value, int) else value


def _attempt(row: RowMapping, iteration: int) -> Document:
    """One that is open has reached what its job has; once it ends that is written down."""
    shown = {name: row[name] for name in _ATTEMPT}
    shown["error"] = _error(row["error"], with_traceback=True)
    if row["ended_at"] is None:
        shown["last_iteration"] = iteration if iteration >= row["first_iteration"] else None
    return shown


def _error(stored: Document | None, *, with_traceback: bool) -> Document | None:
    if stored is None:
        return None
    shown = {"type": stored["type"], "message": stored["message"]}
    return shown | {"traceback": stored.get("traceback")} if with_traceback else shown
