"""What no field may hold, looked for before any field is read.

PostgreSQL stores neither NUL nor a lone surrogate, JSON has no NaN, and a value nested
deeper than DEEPEST is no spec; the walk keeps its own stack, so nothing recurses.
"""

import math
from collections.abc import Iterator
from typing import Any, Final

from models.domain.errors import Breach, Location, SpecInvalid

DEEPEST: Final = 100
MOST_VALUES: Final = 600_000
MOST_BREACHES: Final = 100


def scan(raw: object) -> None:
    """Raise SpecInvalid where `raw` holds what nothing of ours can keep."""
    breaches: list[Breach] = []
    for seen, (loc, value) in enumerate(_walk(raw)):
        if seen >= MOST_VALUES:
            raise SpecInvalid([Breach((), f"holds more than {MOST_VALUES:,} values")])
        problem = _problem(value, len(loc))
        if problem:
            breaches.append(Breach(loc, problem))
        if len(breaches) >= MOST_BREACHES or len(loc) > DEEPEST:
            break
    if breaches:
        raise SpecInvalid(breaches)


def _walk(raw: object) -> Iterator[tuple[Location, Any]]:
    stack: list[tuple[Location, Any]] = [((), raw)]
    while stack:
        loc, value = stack.pop()
        yield loc, value
        if isinstance(value, dict):
            for key in value:
                yield (*loc, _shown(key)), key
            stack.extend(((*loc, _shown(key)), item) for key, item in reversed(value.items()))
        elif isinstance(value, list):
            last = len(value) - 1
            stack.extend(((*loc, last - i), item) for i, item in enumerate(reversed(value)))


def _problem(value: object, depth: int) -> str | None:
    if depth > DEEPEST:
        return f"nested deeper than {DEEPEST} levels"
    if isinstance(value, float) and not math.isfinite(value):
        return "a finite number is expected: NaN and infinity are none"
    if isinstance(value, str) and not _storable(value):
        return "text may not hold a NUL or a lone surrogate"
    return None


def _storable(text: str) -> bool:
    return "\0" not in text and (text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text))


def _shown(key: object) -> str:
    """The key as a place can show it: short, and free of what can't be sent back."""
    return (
        str(key)[:100]
        .encode("utf-8", "replace")
        .decode()
        .replace("\0", "\N{REPLACEMENT CHARACTER}")
    )
