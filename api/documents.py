"""The OpenAPI document: bodies that we read ourselves, and the problems that answers can be."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from api.bodies import PATCH_TYPES
from api.problems import MEDIA_TYPE, kind_of
from models.domain.plan import Plan, ProgramPlan
from models.domain.spec import JobSpec, ProgramSpec
from models.schemas.job import SCHEMA_OF, Problem
from models.schemas.job_patch import JobPatch

REFERENCE = "#/components/schemas/{model}"

Document = dict[str, Any]


def _reference(*models: str) -> Document:
    references = [{"$ref": REFERENCE.format(model=model)} for model in models]
    return references[0] if len(references) == 1 else {"anyOf": references}


def _body(schema: Document, *media_types: str) -> Document:
    content = {media_type: {"schema": schema} for media_type in media_types}
    return {"requestBody": {"required": True, "content": content}}


JOB_SPEC = _body(_reference("JobSpec", "ProgramSpec"), "application/json")
JOB_PATCH = _body(_reference("JobPatch"), *sorted(PATCH_TYPES))
JOB_BATCH = _body(
    {
        "type": "object",
        "required": ["items"],
        "additionalProperties": False,
        "properties": {
            "items": {
                "type": "array",
                "minItems": 1,
                "maxItems": 100,
                "items": _reference("JobSpec", "ProgramSpec"),
            }
        },
    },
    "application/json",
)

_PROBLEM = {MEDIA_TYPE: {"schema": _reference("Problem")}}


def problems(*errors: type[Exception]) -> dict[int | str, Document]:
    """Declare a route's error answers by the errors it can raise."""
    titles: dict[int | str, list[str]] = {}
    for error in errors:
        kind = kind_of(error)
        titles.setdefault(kind.status.value, []).append(kind.title)
    return {
        status: {"description": "; ".join(words), "content": _PROBLEM}
        for status, words in titles.items()
    }


def install_document(app: FastAPI) -> None:
    """Let `/openapi.json` tell of bodies and problems too."""

    def document() -> Document:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI) -> Document:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    _, read = models_json_schema(
        [(JobSpec, "validation"), (ProgramSpec, "validation"), (JobPatch, "validation")],
        ref_template=REFERENCE,
    )
    _, written = models_json_schema(
        [(Plan, "serialization"), (ProgramPlan, "serialization"), (Problem, "serialization")],
        ref_template=REFERENCE,
    )
    schemas.update(read["$defs"])
    schemas.update(written["$defs"])
    for operations in document["paths"].values():
        for operation in operations.values():
            _declare_problems(operation["responses"])
    return dict(_with_references(document))


def _declare_problems(responses: Document) -> None:
    if "422" in responses:
        responses["422"]["content"] = _PROBLEM
    responses["default"] = {"description": "A problem", "content": _PROBLEM}


def _with_references(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Replace what models/schemas marks as another model's schema by a reference to it."""
    if isinstance(value, dict):
        if SCHEMA_OF in value:
            return _reference(*value[SCHEMA_OF])
        return {name: _with_references(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_references(inner) for inner in value]
    return value
