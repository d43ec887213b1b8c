"""Values as JSONB can hold them: it knows no NaN, no infinity and no NUL."""

import math
from collections.abc import Mapping
from typing import Any


def storable(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Replace what JSONB refuses: non-finite numbers by api.md's words, NULs by nothing."""
    if isinstance(value, float) and not math.isfinite(value):
        return _word(value)
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, Mapping):
        return {storable_text(str(name)): storable(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(each) for each in value]
    return value


def storable_text(value: str) -> str:
    """Text without NULs, and without lone surrogates, which UTF-8 can't write."""
    return value.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def _word(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
