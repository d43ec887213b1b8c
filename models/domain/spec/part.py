"""What every part of a spec has in common: strict types, no unknown fields, frozen.

Choices between parts are tagged unions whose tags begin with NUL. A spec that holds a NUL
is refused before it is parsed (scan.py), so a tag in a place of pydantic's can never be
mistaken for something the client sent, and breaches.py takes it out again.
"""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Final

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

TAG: Final = "\0"
OWN: Final = TAG + "entrypoint"
LARGEST_COUNT: Final = 2**63 - 1

Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
Positive = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
Size = Annotated[int, Field(ge=1, le=65_536)]
PositiveNumber = Annotated[float, Field(gt=0)]
NonNegativeNumber = Annotated[float, Field(ge=0)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


class Part(BaseModel):
    """A part of a spec."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=False,
    )

    def filled(self) -> dict[str, Any]:
        """Its fields, JSON-ready, every default filled in."""
        return {name: _plain(getattr(self, name)) for name in type(self).model_fields}


def _plain(value: Any) -> Any:  # noqa: ANN401 - a field's value can be anything JSON has
    if isinstance(value, Part):
        return value.model_dump(mode="json")
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


class Keyed(Part):
    """A part written as an object with one key, its kind: `{"conv": {"channels": 32}}`."""

    kind: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, value: Any) -> Any:  # noqa: ANN401 - it is not validated yet
        if isinstance(value, dict) and set(value) == {cls.kind}:
            return value[cls.kind]
        return value

    # Plain, not "wrap": pydantic runs a wrapping serializer of a recursive model twice.
    @model_serializer(mode="plain")
    def _wrap(self) -> dict[str, Any]:
        return {self.kind: self.filled()}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        reference = handler(core_schema)
        definition = handler.resolve_ref_schema(reference)
        options = dict(definition)
        definition.clear()
        definition.update(
            type="object",
            properties={cls.kind: options},
            required=[cls.kind],
            additionalProperties=False,
        )
        return reference


def by_name(*names: str, default: str | None = None) -> Discriminator:
    """Choose a part by its `name`; `default` is taken where there is none.

    One with an `entrypoint` is a team's own, and has no name.
    """

    def tag(value: object) -> str | None:
        if _is_own(value):
            return OWN
        name = value.get("name", default) if isinstance(value, dict) else None
        if isinstance(value, Part):
            name = getattr(value, "name", None)
        return TAG + name if isinstance(name, str) and name in names else None

    return _discriminator(tag, "unknown_name", names)


def own_or(other: str) -> Discriminator:
    """Choose between a team's own part and the one with the tag `other`."""
    return Discriminator(lambda value: OWN if _is_own(value) else TAG + other)


def _is_own(value: object) -> bool:
    given = value if isinstance(value, dict) else getattr(type(value), "model_fields", {})
    return "entrypoint" in given


def by_kind(*kinds: str) -> Discriminator:
    """Choose a part by the one key of its object."""

    def tag(value: object) -> str | None:
        if isinstance(value, Keyed):
            return TAG + value.kind
        if isinstance(value, dict) and len(value) == 1:
            kind = next(iter(value))
            return TAG + kind if kind in kinds else None
        return None

    return _discriminator(tag, "unknown_kind", kinds)


def by_type(**tags: type | tuple[type, ...]) -> Discriminator:
    """Choose by the value's type; the first tag is taken where no type fits."""

    def tag(value: object) -> str:
        fits = (name for name, types in tags.items() if isinstance(value, types))
        return TAG + next(fits, next(iter(tags)))

    return Discriminator(tag)


def _discriminator(
    tag: Callable[[object], str | None], error: str, choices: tuple[str, ...]
) -> Discriminator:
    # The message carries the choices to breaches.py: a context dict would make the
    # discriminator unhashable, and so unusable in a union.
    return Discriminator(tag, custom_error_type=error, custom_error_message=", ".join(choices))
