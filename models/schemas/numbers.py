"""Floats as JSON: NaN and the infinities as words, every other one as the same 64 bits."""

from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from models.domain.numbers import NOT_FINITE, number_or_word


def json_number(value: float | None) -> float | str | None:
    """Give JSON the word for what it has no number for.

    A finite float stays as it is: its shortest decimal form reads back as the same 64 bits.
    """
    return None if value is None else number_or_word(value)


def _from_word(value: object) -> object:
    return NOT_FINITE.get(value, value) if isinstance(value, str) else value


Number = Annotated[
    float,
    BeforeValidator(_from_word),
    PlainSerializer(json_number, return_type=float | str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number"},
                {"type": "string", "enum": [*NOT_FINITE]},
            ]
        }
    ),
]
"""A float of the book, as the API shows it."""
