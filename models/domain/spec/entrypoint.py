"""Code of a team's own, by its name: `team_vision.nets:build`, with options for it.

What a spec says of such code is data, and nothing here imports it: which names there are the
workers advertise, and the trainer alone calls one.
"""

import json
import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, JsonValue

from models.domain.spec.part import Part

LONGEST_NAME: Final = 200
MOST_OPTIONS: Final = 100
MOST_OPTION_BYTES: Final = 65_536

_NAME: Final = re.compile(r"[A-Za-z]\w*(\.[A-Za-z_]\w*)*:[A-Za-z]\w*", re.ASCII)


def _named(name: str) -> str:
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise ValueError(
            f'"package.module:name" is expected, of letters, digits and _, with at most '
            f"{LONGEST_NAME} characters"
        )
    return name


def _bounded(options: dict[str, Any]) -> dict[str, Any]:
    """Hold options to what can be given to a function by name, and to a size."""
    if len(options) > MOST_OPTIONS:
        raise ValueError(f"at most {MOST_OPTIONS} options are taken")
    for name in options:
        if not name.isidentifier():
            raise ValueError(f'"{name[:60]}" is no name of an argument')
    if len(json.dumps(options)) > MOST_OPTION_BYTES:
        raise ValueError(f"options are at most {MOST_OPTION_BYTES:,} bytes of JSON")
    return options


EntryPointName = Annotated[str, AfterValidator(_named)]
Options = Annotated[dict[str, JsonValue], AfterValidator(_bounded)]


class EntryPoint(Part):
    """A callable of an installed package; it is called with `options` by their names."""

    entrypoint: EntryPointName
    options: Options = Field(default_factory=dict)


def package_of(name: str) -> str:
    """The package that an entry point lies in: `team_vision` of `team_vision.nets:build`."""
    return name.partition(":")[0].partition(".")[0]
