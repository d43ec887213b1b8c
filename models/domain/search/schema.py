"""Which names a spec or a plan may have at a path, so that a misspelt one is told apart."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from models.domain.plan import Plan
from models.domain.spec import JobSpec, ProgramSpec

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class SpecPart:
    """What may stand at one path: one schema, or several where there is a choice."""

    choices: tuple[Schema, ...]
    definitions: Schema

    @property
    def names(self) -> list[str]:
        return [name for each in self.choices for name in each.get("properties", {})]

    def inner(self, name: str) -> "SpecPart | None":
        """What may stand below the name; None where nothing can."""
        found = [below for each in self.choices for below in _below(each, name)]
        return _part(found, self.definitions) if found else None


@cache
def spec_part() -> SpecPart:
    schemas = [JobSpec.model_json_schema(), ProgramSpec.model_json_schema()]
    return _part(schemas, {**schemas[1].get("$defs", {}), **schemas[0].get("$defs", {})})


@cache
def plan_part() -> SpecPart:
    schema = Plan.model_json_schema()
    return _part([schema], schema.get("$defs", {}))


def _part(schemas: Sequence[Schema], definitions: Schema) -> SpecPart:
    return SpecPart(tuple(_choices(schemas, definitions)), definitions)


def _choices(schemas: Sequence[Schema], definitions: Schema) -> Iterator[Schema]:
    """Follow references and unions; a schema that refers to itself is followed no further."""
    waiting, seen = list(schemas), set[str]()
    while waiting:
        schema = waiting.pop()
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            if name not in seen:
                seen.add(name)
                waiting.append(definitions[name])
            continue
        yield schema
        for union in ("anyOf", "oneOf", "allOf"):
            waiting += schema.get(union, [])


def _below(schema: Schema, name: str) -> Iterator[Schema]:
    if name in schema.get("properties", {}):
        yield schema["properties"][name]
    elif isinstance(schema.get("additionalProperties"), dict):
        yield schema["additionalProperties"]
    if name.isascii() and name.isdigit() and len(name) <= 6:  # noqa: PLR2004 - no list is longer
        items = schema.get("items")
        if isinstance(items, dict):
            yield items
        yield from schema.get("prefixItems", [])
