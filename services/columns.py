"""Where in the tables each field of a search stands, as an expression of its kind."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Lateral,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from models.domain.lifecycle import State
from models.domain.search import Field, Kind
from models.tables import jobs, metrics, plan_outlines, progress, spec_outlines, summaries
from models.tables.metadata import Float64
from models.tables.outlines import LEFT_OUT, USUAL
from services.job_view import SLOWEST

BY_CODE_POINT = "C"
LONGEST_TEXT = 200
"""How many characters of a text count for the order; a cursor has to hold them."""
SUMMARY_NUMBERS = (
    "final_loss",
    "best_loss",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "test_loss",
    "test_accuracy",
)


def column_of(field: Field) -> ColumnElement[Any]:
    """Return what the field's kind says, null where a job has none; JSON for `spec` and `plan`."""
    match field.path:
        case ("tags", key):
            return by_code_point(func.jsonb_extract_path_text(jobs.c.tags, literal(key, Text)))
        case ("metrics", name, figure):
            return _metric(name, figure)
        case ("spec", *names):
            return _of_spec(names)
        case ("plan", *names):
            return _of_plan(names)
    place = _PLACES[".".join(field.path)]
    column = place if isinstance(place, ColumnElement) else place()
    # These two have indexes that the rest of the house uses, in the database's own collation.
    if field.kind is Kind.TEXT and column is not jobs.c.project:
        return by_code_point(column)
    return column


def sortable_json(field: Field) -> ColumnElement[Any]:
    """Return a field of `spec` or `plan` as lists are ordered by it: null where JSON's null is."""
    column = column_of(field)
    looked_up = getattr(column, "table", None)
    # Made where the value is looked up, it is made as seldom.
    return looked_up.c.sortable if isinstance(looked_up, Lateral) else _bounded(column)


def may_be_null(field: Field) -> bool:
    place = _PLACES.get(".".join(field.path))
    return not isinstance(place, Column) or bool(place.nullable)


def by_code_point(text: ColumnElement[Any]) -> ColumnElement[Any]:
    return text.collate(BY_CODE_POINT)


def text_of(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """What a JSON string says, any other value as JSON."""
    # The empty path leads to the value itself.
    return column.op("#>>", return_type=Text())(literal([], ARRAY(Text())))


def _of_plan(names: list[str]) -> ColumnElement[Any]:
    if not _is_cut(("plan", *names)):
        return _extracted(plan_outlines.c.plan, names)
    if names[:1] == ["network"]:
        return _of_network("plan", tuple(names))
    return _extracted(jobs.c.plan, names)


def _of_spec(names: list[str]) -> ColumnElement[Any]:
    top, *below = names
    if _is_cut(("spec", *names)):
        return (
            _of_network("spec", tuple(names))
            if top == "network"
            else _extracted(jobs.c.spec, names)
        )
    if top not in USUAL:
        return _extracted(spec_outlines.c.spec, names)
    usual = literal(USUAL[top], JSONB())
    part: ColumnElement[Any] = func.coalesce(_extracted(spec_outlines.c.spec, [top]), usual)
    return _extracted(part, below) if below else part


@lru_cache(maxsize=64)
def _of_network(document: str, names: tuple[str, ...]) -> ColumnElement[Any]:
    """What the first job with the same network says: PostgreSQL remembers it for all others.

    The same object for the same names, so that a query which says them twice looks once.
    """
    outlines = _OUTLINES[document]
    job, other = jobs.alias(), outlines.alias()
    first = (
        select(func.min(other.c.job_key))
        .where(other.c.network == outlines.c.network)
        .correlate(outlines)
        .scalar_subquery()
    )
    # With a LIMIT each stays a query of its own: the document is unpacked once, within them.
    value = select(_extracted(job.c[document], names).label("value")).where(job.c.key == first)
    unpacked = value.limit(1).subquery().c.value
    return select(unpacked, _bounded(unpacked).label("sortable")).limit(1).lateral().c.value


_OUTLINES = {"spec": spec_outlines, "plan": plan_outlines}


def _is_cut(path: tuple[str, ...]) -> bool:
    """Whether the path leads into, to, or past what outlines leave out."""
    return any(path[: len(each)] == each[: len(path)] for each in LEFT_OUT)


def _bounded(column: ColumnElement[Any]) -> ColumnElement[Any]:
    type_ = func.jsonb_typeof(column)
    return case(
        (type_.in_(["number", "boolean"]), column),
        # Of JSON's null this is null, unasked: each mention of a column unpacks its document.
        else_=func.to_jsonb(func.left(text_of(column), LONGEST_TEXT), type_=JSONB()),
    )


def _extracted(document: ColumnElement[Any], names: Sequence[str]) -> ColumnElement[Any]:
    path = (literal(name, Text) for name in names)
    return func.jsonb_extract_path(document, *path, type_=JSONB())


def _metric(name: str, figure: str) -> ColumnElement[Any]:
    return (
        select(metrics.c[figure])
        .where(metrics.c.job_key == jobs.c.key, metrics.c.name == literal(name, Text))
        .correlate(jobs)
        .scalar_subquery()
    )


def _error(name: str) -> ColumnElement[Any]:
    return func.jsonb_extract_path_text(jobs.c.error, literal(name, Text))


def _total() -> ColumnElement[Any]:
    name = literal("iterations_total", Text)
    return cast(func.jsonb_extract_path_text(plan_outlines.c.plan, name), BigInteger)


def _fraction() -> ColumnElement[Any]:
    total = cast(_total(), Float64)
    share = func.least(literal(1.0, Float64), progress.c.iteration / total)
    return case((total > 0, share), (total.is_not(None), literal(0.0, Float64)))


def _eta() -> ColumnElement[Any]:
    total, speed = _total(), progress.c.iterations_per_second
    running = and_(jobs.c.state == State.RUNNING, speed > literal(SLOWEST, Float64))
    # The greater of null and 0 is 0.
    left = func.greatest(literal(0, BigInteger), total - progress.c.iteration)
    return case((and_(running, total.is_not(None)), cast(left, Float64) / speed))


_PLACES: Mapping[str, ColumnElement[Any] | Callable[[], ColumnElement[Any]]] = {
    **{
        name: jobs.c[name]
        for name in (
            "id",
            "parent",
            "name",
            "project",
            "queue",
            "notes",
            "created_by",
            "spec_sha256",
            "priority",
            "state",
            "stop_reason",
            "reproducible",
            "created_at",
            "started_at",
            "finished_at",
        )
    },
    "wanted": progress.c.wanted,
    **{
        f"progress.{name}": progress.c[name]
        for name in ("phase", "epoch", "batch", "iteration", "iterations_per_second")
    },
    "progress.iterations_total": _total,
    "progress.fraction": _fraction,
    "progress.eta_seconds": _eta,
    **{f"latest.{name}": progress.c[f"latest_{name}"] for name in ("loss", "lr", "at")},
    **{f"summary.{name}": summaries.c[name] for name in SUMMARY_NUMBERS},
    **{
        f"summary.best.{name}": summaries.c[f"best_{name}"]
        for name in ("metric", "value", "epoch", "iteration")
    },
    "error.type": lambda: _error("type"),
    "error.message": lambda: _error("message"),
    "book.rows": progress.c.rows,
    "book.expected": progress.c.iteration,
    "book.complete": lambda: progress.c.rows == progress.c.iteration,
    "book.archived_at": jobs.c.archived_at,
    "book.loss_sha256": jobs.c.loss_sha256,
    "book.weights_sha256": jobs.c.weights_sha256,
}
