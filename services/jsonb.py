"""Values as JSONB can hold them: it knows no NaN, no infinity, no NUL, and no exponents."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from models.domain.numbers import number_or_word

# A whole string, so that what looks like a number in it stays; or a number of 1e16 and above,
# which Python writes with an exponent and which has no fraction.
_TEXT_OR_LARGE = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9.]+e\+[0-9]+')


def storable(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Replace what JSONB refuses: non-finite numbers by api.md's words, NULs by nothing."""
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return number_or_word(value)
    if isinstance(value, str):
        return storable_text(value)
    # Asked first whether it is a dict, which is quickly told: nearly all are.
    if isinstance(value, (dict, Mapping)):
        return {storable_text(str(name)): storable(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(each) for each in value]
    return value


def write_json(value: object) -> str:
    """JSON whose floats are still floats once JSONB has kept them.

    JSONB keeps 1e30 as its 31 digits, which read back as an integer; with `.0` behind them it
    keeps that too.
    """
    written = json.dumps(value)
    return _TEXT_OR_LARGE.sub(_in_digits, written) if "e+" in written else written


def _in_digits(found: re.Match[str]) -> str:
    token = found[0]
    return token if token.startswith('"') else f"{Decimal(token):f}.0"


def storable_text(value: str) -> str:
    """Text without NULs, and without lone surrogates, which UTF-8 can't write."""
    if value.isascii() and "\x00" not in value:
        return value
    return value.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
