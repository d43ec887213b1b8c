"""Specs from files and the command line: JSON, YAML, `--set`."""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import yaml

from cli.errors import ServiceRefused, SpecUnreadable

STDIN = "-"


class _Yaml12Loader(yaml.SafeLoader):
    """YAML with the 1.2 core schema's scalars.

    PyYAML's own reads `1e-3` as text, `010` as 8, `12:30` as 750 and `2026-01-01` as a date:
    none of them what somebody who writes a spec means.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own registry

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's own signature
        """Refuse a name that stands twice: the last one would win, and nobody would know."""
        first: dict[Any, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                continue
            line = key.start_mark.line + 1
            if key.value in first:
                raise _NameTwice(key.value, first[key.value], line)
            first[key.value] = line
        return super().construct_mapping(node, deep)


class _NameTwice(ValueError):
    def __init__(self, name: str, first: int, line: int) -> None:
        super().__init__(f"`{name}` stands twice, on line {first} and on line {line}")


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    _Yaml12Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first
    )


def read_spec(source: str) -> dict[str, Any]:
    """Read a spec from a file, or from standard input where `source` is `-`.

    What begins with `{` is JSON, all else YAML; a file named `….json` is JSON whatever it holds.

    Raises:
        SpecUnreadable: no such file, or neither JSON nor YAML, or not an object.

    """
    name = "standard input" if source == STDIN else source
    try:
        text = sys.stdin.read() if source == STDIN else Path(source).read_text(encoding="utf-8")
    except OSError as error:
        raise SpecUnreadable(name, error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise SpecUnreadable(name, "not UTF-8 text") from None
    if name.endswith(".json"):
        spec = _parse_json(text, name)
    elif text.lstrip().startswith("{"):
        spec = _parse_flow(text, name)
    else:
        spec = parse_yaml(text, name)
    if not isinstance(spec, dict):
        raise SpecUnreadable(name, "a spec is an object: `dataset`, `network`, `epochs` …")
    return spec


def parse_yaml(text: str, name: str) -> Any:  # noqa: ANN401 - whatever the text holds
    """Parse YAML 1.2; `name` is what an error calls the text.

    Raises:
        SpecUnreadable: the text is no YAML.

    """
    try:
        return yaml.load(text, _Yaml12Loader)  # noqa: S506 - a SafeLoader, with other scalars
    except _NameTwice as twice:
        raise SpecUnreadable(name, str(twice)) from None
    except yaml.YAMLError as error:
        raise SpecUnreadable(name, f"neither JSON nor YAML: {error}") from None
    except RecursionError:
        raise SpecUnreadable(name, "nested too deeply") from None


def set_value(spec: dict[str, Any], assignment: str) -> None:
    """Carry out one `--set path=value`: `optimizer.lr=0.01`, `network.layers.0.conv.kernel=5`.

    Objects that are missing on the way are made; a list's places are counted from 0.

    Raises:
        SpecUnreadable: no `=`, or the path leads through something that is no object or list.

    """
    path, equals, text = assignment.partition("=")
    if not equals or not path:
        raise SpecUnreadable(f"--set {assignment}", "write path=value, as in optimizer.lr=0.01")
    value = parse_yaml(text, f"--set {path}")
    *way, last = path.split(".")
    place: Any = spec
    for step in way:
        if isinstance(place, dict):
            place = place.setdefault(step, {})
        else:
            place = place[_index(place, step, assignment)]
    if isinstance(place, dict):
        place[last] = value
    else:
        place[_index(place, last, assignment)] = value


@contextmanager
def text_explained(assignments: Sequence[str] | None) -> Iterator[None]:
    """Add to a refusal how `--set` gives text where YAML reads a number.

    Raises:
        SpecUnreadable: a `--set` was refused that would have been right as text.

    """
    try:
        yield
    except ServiceRefused as refused:
        places = {".".join(map(str, error.get("loc") or ())): error for error in refused.errors}
        cures = [
            f"  as text: --set '{path}=\"{text}\"'"
            for path, _, text in (one.partition("=") for one in assignments or ())
            if "text" in str(places.get(path, {}).get("msg", "")) and '"' not in text
        ]
        if not cures:
            raise
        raise SpecUnreadable("--set", "\n".join([str(refused), *cures])) from None


def _index(place: object, step: str, assignment: str) -> int:
    if not isinstance(place, list):
        raise SpecUnreadable(f"--set {assignment}", f"there is no place for {step!r}")
    if not step.isdecimal() or int(step) >= len(place):
        raise SpecUnreadable(
            f"--set {assignment}", f"{step!r} is none of the list's {len(place)} places"
        )
    return int(step)


def _parse_flow(text: str, name: str) -> Any:  # noqa: ANN401 - whatever the text holds
    """What begins with a brace: a YAML flow mapping does, too."""
    try:
        return _parse_json(text, name)
    except _NotJson as broken:
        try:
            return parse_yaml(text, name)
        except SpecUnreadable:
            raise broken from None


class _NotJson(SpecUnreadable):
    """Its text is no JSON; it may be YAML."""


def _parse_json(text: str, name: str) -> Any:  # noqa: ANN401 - whatever the text holds
    try:
        return json.loads(text, parse_constant=_no_number, object_pairs_hook=_each_once)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise _NotJson(name, f"not JSON, {place}: {error.msg}") from None
    except ValueError as error:
        raise SpecUnreadable(name, str(error)) from None
    except RecursionError:
        raise SpecUnreadable(name, "nested too deeply") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"`{twice}` stands twice in one object")
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number that a spec can hold")
