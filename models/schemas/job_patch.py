"""A JSON merge patch (RFC 7396) of what may be changed of a job that is there."""

import difflib
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.domain.errors import Breach, SpecInvalid
from models.domain.spec.heading import TagKey, TagValue
from models.domain.spec.scan import scan

EMPTY: dict[str, Any] = {"name": "", "notes": "", "tags": {}, "priority": 0}
"""What a field becomes that is patched with null: as a spec without it has it."""


class JobPatch(BaseModel):
    """Null gives a field its default again; in `tags` it takes the tag away."""

    model_config = ConfigDict(strict=True, extra="forbid")

    name: Annotated[str, Field(max_length=200)] = ""
    notes: Annotated[str, Field(max_length=10_000)] = ""
    tags: Annotated[dict[TagKey, TagValue], Field(max_length=64)] = {}
    priority: Annotated[int, Field(ge=-100, le=100)] = 0


def merged(patch: object, before: dict[str, Any]) -> dict[str, Any]:
    """Apply a patch to the fields as they are, and check what comes of it.

    Raises:
        SpecInvalid: the patch is no object, names another field, or breaks a field's rule.

    """
    scan(patch)
    if not isinstance(patch, dict):
        raise SpecInvalid([Breach((), "a merge patch is an object")])
    unknown = [Breach((name,), _unknown(name)) for name in patch if name not in EMPTY]
    if unknown:
        raise SpecInvalid(unknown)
    after = {**before, **{name: _value(name, patch[name], before[name]) for name in patch}}
    try:
        return JobPatch.model_validate(after).model_dump()
    except ValidationError as error:
        raise SpecInvalid(
            [Breach(fault["loc"], fault["msg"]) for fault in error.errors()]
        ) from None


def _value(name: str, new: object, old: object) -> object:
    if new is None:
        return EMPTY[name]
    if isinstance(new, dict) and isinstance(old, dict):
        kept = {tag: value for tag, value in old.items() if tag not in new}
        return kept | {tag: value for tag, value in new.items() if value is not None}
    return new


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, EMPTY, 1)
    return f"did you mean {near[0]}?" if near else f"only {', '.join(EMPTY)} can be changed"
