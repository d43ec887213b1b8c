"""Where in a body stands what makes it unacceptable; looked for once a body is refused.

The parser that reads every body says a line and a column. Python's own parser is slower and takes
more than JSON allows, so what it makes of the body shows the fields that are at fault.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from models.domain.errors import Breach, Location, SpecInvalid
from models.domain.spec.scan import MOST_BREACHES, scan
from services.jsonb import storable_text

MOST_DIGITS = 400
"""More than any float has, and few enough to be read quickly."""


class _Twins(dict[str, Any]):
    """An object in which names stand twice."""

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        seen: set[str] = set()
        self.names = [name for name, _ in pairs if name in seen or seen.add(name)]  # type: ignore[func-returns-value]


def find_culprits(body: bytes) -> list[Breach]:
    """The breaches of a body with their places; none where its grammar is at fault."""
    try:
        parsed = json.loads(body.decode(), object_pairs_hook=_object, parse_int=_whole)
        twins = list(_find_twins(parsed))[:MOST_BREACHES]
        scan(parsed)
    except SpecInvalid as error:
        return [*twins, *error.breaches]
    except (ValueError, RecursionError):
        return []
    return twins


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    return made if len(made) == len(pairs) else _Twins(pairs)


def _whole(digits: str) -> float:
    """A number that no field takes may be as imprecise as it likes, and becomes infinite."""
    return int(digits) if len(digits) < MOST_DIGITS else float(digits)


def _find_twins(parsed: object) -> Iterator[Breach]:
    stack: list[tuple[Location, object]] = [((), parsed)]
    while stack:
        loc, value = stack.pop()
        if isinstance(value, _Twins):
            for name in value.names:
                msg = f"the name {name[:100]!r} stands twice in one object"
                yield Breach((*loc, _shown(name)), msg)
        if isinstance(value, dict):
            stack.extend(((*loc, _shown(name)), each) for name, each in value.items())
        elif isinstance(value, list):
            stack.extend(((*loc, place), each) for place, each in enumerate(value))


def _shown(name: str) -> str:
    """As a place in an answer can hold it."""
    return storable_text(name[:100])
