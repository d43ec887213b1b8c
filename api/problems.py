"""Every error an answer can carry, as RFC 9457 problem details.

PROBLEMS is the one table: an error's class decides status, type and title. A test fails for a
GradbookError that is not in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy import exc as database_errors
from starlette.exceptions import HTTPException

from api.bodies import BodyMalformed, BodyTooLarge, ContentTypeUnsupported
from api.connections import DatabaseSilent, Overloaded
from api.viewers import StreamsFull
from foundation.logging import get_logger
from models.domain import errors
from models.domain.errors import Breach, GradbookError, Invalid

log = get_logger("api")

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """What the answers for one class of errors have in common."""

    status: HTTPStatus
    slug: str
    title: str
    retry_after_seconds: int | None = None

    @property
    def type(self) -> str:
        return f"/problems/{self.slug}"


_UNPROCESSABLE = HTTPStatus.UNPROCESSABLE_ENTITY
_UNAVAILABLE = HTTPStatus.SERVICE_UNAVAILABLE
_DATABASE_AWAY = Kind(_UNAVAILABLE, "database-away", "The database does not answer", 2)
_BUSY = Kind(_UNAVAILABLE, "busy", "Somebody else holds what this needs", 1)

PROBLEMS: Mapping[type[Exception], Kind] = {
    BodyTooLarge: Kind(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", "The body is too large"
    ),
    ContentTypeUnsupported: Kind(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "content-type", "The content type is not supported"
    ),
    BodyMalformed: Kind(_UNPROCESSABLE, "body-malformed", "The body is not acceptable JSON"),
    Invalid: Kind(_UNPROCESSABLE, "invalid", "What was sent cannot be accepted"),
    errors.SpecInvalid: Kind(_UNPROCESSABLE, "spec-invalid", "The spec breaks a rule"),
    errors.QueryInvalid: Kind(_UNPROCESSABLE, "query-invalid", "A parameter breaks a rule"),
    errors.CursorInvalid: Kind(
        _UNPROCESSABLE, "cursor-invalid", "The cursor is not one of this list"
    ),
    errors.FilterInvalid: Kind(
        HTTPStatus.BAD_REQUEST, "filter-invalid", "The filter cannot be understood"
    ),
    errors.KeyReused: Kind(
        _UNPROCESSABLE, "key-reused", "The Idempotency-Key belongs to another request"
    ),
    RequestValidationError: Kind(_UNPROCESSABLE, "query-invalid", "A parameter breaks a rule"),
    errors.Missing: Kind(HTTPStatus.NOT_FOUND, "missing", "There is no such thing"),
    errors.JobMissing: Kind(HTTPStatus.NOT_FOUND, "job-missing", "There is no such job"),
    errors.MetricMissing: Kind(
        HTTPStatus.NOT_FOUND, "metric-missing", "The job has no such metric"
    ),
    errors.ArtifactMissing: Kind(
        HTTPStatus.NOT_FOUND, "artifact-missing", "The job has no such artifact"
    ),
    errors.JobsDeleted: Kind(
        HTTPStatus.GONE, "jobs-deleted", "What the Idempotency-Key made was deleted"
    ),
    errors.Conflict: Kind(HTTPStatus.CONFLICT, "conflict", "The state of things forbids it"),
    errors.RetryFutile: Kind(
        HTTPStatus.CONFLICT, "retry-futile", "The job would only repeat itself"
    ),
    errors.RowsArchived: Kind(
        HTTPStatus.CONFLICT, "rows-archived", "The job's rows lie in a file, for good"
    ),
    errors.MoveForbidden: Kind(
        HTTPStatus.CONFLICT, "move-forbidden", "The job's state does not allow it"
    ),
    errors.Rewound: Kind(HTTPStatus.CONFLICT, "rewound", "What the cursor had read was taken back"),
    errors.FenceLost: Kind(
        HTTPStatus.CONFLICT, "fence-lost", "Another attempt owns the job, or none does"
    ),
    errors.ArchiveSpoilt: Kind(
        HTTPStatus.INTERNAL_SERVER_ERROR, "archive-spoilt", "The file with the rows is not good"
    ),
    errors.ArchiveAway: Kind(
        _UNAVAILABLE, "archive-away", "The store with the file of the rows does not answer", 5
    ),
    errors.NotBuilt: Kind(HTTPStatus.NOT_IMPLEMENTED, "not-built", "This is not built yet"),
    Overloaded: Kind(_UNAVAILABLE, "overloaded", "Too many requests at once", 1),
    StreamsFull: Kind(_UNAVAILABLE, "streams-full", "Too many live streams at once", 5),
    DatabaseSilent: _DATABASE_AWAY,
    database_errors.OperationalError: _DATABASE_AWAY,
    database_errors.InterfaceError: _DATABASE_AWAY,
    # A server that has become a standby, a session that it has ended because it stood still.
    database_errors.InternalError: _DATABASE_AWAY,
    database_errors.TimeoutError: _DATABASE_AWAY,
    database_errors.DataError: Kind(
        _UNPROCESSABLE, "out-of-range", "A value is outside what the database can hold"
    ),
    GradbookError: Kind(
        HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "The service failed to answer"
    ),
    Exception: Kind(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "The service failed to answer"),
}


BY_SQLSTATE: Mapping[str, Kind] = {
    "55P03": _BUSY,  # lock_timeout
    "40001": _BUSY,  # serialization_failure
    "40P01": _BUSY,  # deadlock_detected
    "57014": Kind(_UNAVAILABLE, "too-slow", "The database took too long to answer", 5),
}
"""What PostgreSQL says while it is there."""


def kind_of(error: type[Exception]) -> Kind:
    """Look the class up in PROBLEMS, or the nearest of its bases that is there."""
    return next(PROBLEMS[base] for base in error.__mro__ if base in PROBLEMS)


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error of the app a problem, those of unknown routes and methods too."""
    app.add_exception_handler(HTTPException, _answer_http)
    for error in PROBLEMS:
        app.add_exception_handler(error, _answer)


def problem_response(
    kind: Kind,
    detail: str,
    breaches: Sequence[Breach] = (),
    headers: Mapping[str, str] | None = None,
    facts: Mapping[str, object] | None = None,
) -> JSONResponse:
    body: dict[str, object] = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status.value,
        "detail": detail,
    }
    body |= facts or {}
    if breaches:
        body["errors"] = [{"loc": list(breach.loc), "msg": breach.msg} for breach in breaches]
    extra = dict(headers or {})
    if kind.retry_after_seconds is not None:
        extra["Retry-After"] = str(kind.retry_after_seconds)
    return JSONResponse(
        jsonable_encoder(body), kind.status.value, headers=extra, media_type=MEDIA_TYPE
    )


async def _answer(request: Request, error: Exception) -> JSONResponse:
    kind = _kind(error)
    if kind.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning(
            "request.failed", method=request.method, path=request.url.path, error=repr(error)[:500]
        )
    return problem_response(kind, _detail(kind, error), _breaches(error), facts=_facts(error))


def _kind(error: Exception) -> Kind:
    if isinstance(error, database_errors.DBAPIError):
        said = getattr(error.orig, "sqlstate", None)
        if isinstance(said, str) and said in BY_SQLSTATE:
            return BY_SQLSTATE[said]
    return kind_of(type(error))


def _detail(kind: Kind, error: Exception) -> str:
    """What may be told: our own errors speak for themselves, others' texts stay in the log."""
    if isinstance(error, GradbookError):
        return str(error)
    if isinstance(error, RequestValidationError):
        return "; ".join(f"{'.'.join(map(str, b.loc))}: {b.msg}" for b in _breaches(error))
    return f"{kind.title}; the service's log says more"


def _breaches(error: Exception) -> Sequence[Breach]:
    if isinstance(error, Invalid):
        return error.breaches
    if isinstance(error, RequestValidationError):
        return [Breach(tuple(fault["loc"]), str(fault["msg"])) for fault in error.errors()]
    return ()


def _facts(error: Exception) -> Mapping[str, object]:
    """What a program needs of an error beside its type."""
    match error:
        case errors.Rewound(iteration=last):
            return {"from": last + 1}
        case errors.FilterInvalid(position=position):
            return {"position": position}
    return {}


async def _answer_http(_request: Request, error: Exception) -> JSONResponse:
    """An error of Starlette's own: an unknown path, a method that the path does not have."""
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    slug = status.phrase.lower().replace(" ", "-").replace("'", "")
    return problem_response(Kind(status, slug, status.phrase), str(error.detail), (), error.headers)
