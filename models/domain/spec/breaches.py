"""Pydantic's errors as breaches: places in what was sent, and messages that name a cure."""

import re
from collections.abc import Iterable
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from models.domain.errors import Breach, Location
from models.domain.spec.job import JobSpec
from models.domain.spec.names import parts_in, unknown_choice, unknown_field
from models.domain.spec.part import TAG, Keyed, Part

MOST_BREACHES: Final = 100
LONGEST_KEY: Final = 100

_WORDS: Final = (
    (re.compile(r"^Value error, "), ""),
    (re.compile(r"^Input should be a valid integer$"), "a whole number is expected"),
    (re.compile(r"^Input should be a valid number$"), "a number is expected"),
    (re.compile(r"^Input should be a valid string$"), "text is expected"),
    (re.compile(r"^Input should be a valid boolean$"), "true or false is expected"),
    (re.compile(r"^Input should be a valid (tuple|list)$"), "a list is expected"),
    (re.compile(r"^Input should be a valid dictionary.*$"), "an object is expected"),
    (re.compile(r"^Input should be "), "must be "),
    (re.compile(r"^(String|Tuple|List|Dictionary) should "), "should "),
)


def breaches_of(error: ValidationError, kind: type[Part] = JobSpec) -> list[Breach]:
    """At most MOST_BREACHES of a `kind`'s errors, in the order in which they were found."""
    details = error.errors(include_url=False)
    # A default that is worked out from a field which is itself wrong is no second mistake.
    real = [each for each in details if each["type"] != "default_factory_not_called"]
    return [_breach(each, kind) for each in real[:MOST_BREACHES]]


def _breach(error: ErrorDetails, kind: type[Part]) -> Breach:
    loc, part = _placed(error["loc"], kind)
    match error["type"]:
        case "extra_forbidden":
            breach = Breach(loc, unknown_field(str(error["loc"][-1]), part))
        case "missing":
            breach = Breach(loc, "is required")
        case "unknown_name":
            breach = _unknown_name(loc, error)
        case "unknown_kind":
            breach = _unknown_kind(loc, error)
        case "literal_error" if isinstance(error["input"], str):
            breach = Breach(loc, _unknown_word(error))
        case _:
            breach = Breach(loc, _in_our_words(error["msg"]))
    return breach


def _unknown_word(error: ErrorDetails) -> str:
    words = re.findall(r"'([^']*)'", str(error.get("ctx", {}).get("expected", "")))
    if error["loc"][-1] == TAG + "word":
        return f'"{words[0]}" is the only word that can stand here'
    return unknown_choice(error["input"], words)


def _unknown_name(loc: Location, error: ErrorDetails) -> Breach:
    names, value = error["msg"].split(", "), error["input"]
    if not isinstance(value, dict):
        return Breach(loc, f'an object with a name is expected: {{"name": "{names[0]}"}}')
    name = value.get("name")
    if name is None:
        return Breach((*loc, "name"), f"is required: one of {', '.join(names)}")
    if not isinstance(name, str):
        return Breach((*loc, "name"), f"text is expected: one of {', '.join(names)}")
    return Breach((*loc, "name"), unknown_choice(name, names))


def _unknown_kind(loc: Location, error: ErrorDetails) -> Breach:
    kinds, value = error["msg"].split(", "), error["input"]
    if isinstance(value, dict) and len(value) == 1:
        key = str(next(iter(value)))
        return Breach((*loc, key[:LONGEST_KEY]), unknown_choice(key, kinds))
    if isinstance(value, str) and value in kinds:
        return Breach(loc, f'an object is expected: {{"{value}": {{…}}}}')
    return Breach(loc, f'an object with one key, its kind, is expected: {{"{kinds[0]}": {{…}}}}')


def _placed(loc: Iterable[str | int], part: type[Part]) -> tuple[Location, type[Part]]:
    """The place without pydantic's union tags, and the part that it lies in, from the whole."""
    place: list[str | int] = []
    choices: dict[str, type[Part]] = {}
    for segment in loc:
        if isinstance(segment, int):
            place.append(segment)
        elif segment.startswith(TAG):
            part = choices.get(segment, part)
            if issubclass(part, Keyed) and segment in choices:
                place.append(part.kind)
        else:
            place.append(segment[:LONGEST_KEY])
            field = part.model_fields.get(segment)
            choices = parts_in(field.annotation) if field else {}
            part = choices.get("", part)
    return tuple(place), part


def _in_our_words(message: str) -> str:
    for pattern, replacement in _WORDS:
        message = pattern.sub(replacement, message)
    return message
