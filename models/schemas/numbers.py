"""Floats as JSON: NaN and the infinities as words, every other one as the same 64 bits."""

import math
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def json_number(value: float | None) -> float | str | None:
    """Give JSON the word for what it has no number for.

    A finite float stays as it is: its shortest decimal form reads back as the same 64 bits.
    """
    if value is None or math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _from_word(value: object) -> object:
    return _WORDS.get(value, value) if isinstance(value, str) else value


Number = Annotated[
    float,
    BeforeValidator(_from_word),
    PlainSerializer(json_number, return_type=float | str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number"},
                {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]},
            ]
        }
    ),
]
"""A float of the book, as the API shows it."""
