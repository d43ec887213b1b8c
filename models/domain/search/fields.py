"""What a filter, an order or a group may name: the paths of a job, each with its kind."""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from models.domain.lifecycle import Phase, State, StopReason, Wish
from models.domain.search.schema import SpecPart, plan_part, spec_part

PATH = re.compile(r'[^\W\d]\w*(?:\.(?:[\w-]+|"(?:[^"\x00\ud800-\udfff]|"")+"))*')
"""Names between dots; one that holds anything but letters, digits, _ and - is quoted."""
_STEP = re.compile(r'[\w-]+|"(?:[^"]|"")+"')
MOST_STEPS = 16


class Kind(StrEnum):
    """What stands at a path, as the messages name it."""

    TEXT = "text"
    WORD = "one of a few words"
    NUMBER = "a number"
    INTEGER = "a whole number"
    MOMENT = "a time"
    BOOLEAN = "true or false"
    ID = "an id"
    TAG = "a tag's text"
    JSON = "any JSON value"


@dataclass(frozen=True, slots=True)
class Field:
    """One path of a job.

    Attributes:
        path: its names, the root first.
        words: what may stand there, where it is one of a few words.

    """

    path: tuple[str, ...]
    kind: Kind
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ".".join(
            name if re.fullmatch(r"[\w-]+", name) else _quoted(name) for name in self.path
        )


class FieldUnknown(ValueError):
    """No job has such a path; says which is the nearest."""


def find_field(text: str) -> Field:
    """Look a path up.

    Args:
        text: matches PATH.

    Raises:
        FieldUnknown: there is none.

    """
    path = tuple(_bare(step) for step in _STEP.findall(text))
    if len(path) > MOST_STEPS:
        raise FieldUnknown(f"a path has at most {MOST_STEPS} names")
    if path == ("loss",):
        path = ("latest", "loss")
    if path[:2] == ("spec", "tags"):
        path = path[1:]
    match path:
        case ("tags" | "metrics", *_):
            return _named(path)
        case ("spec", _, *_):
            return _within(path, spec_part())
        case ("plan", _, *_):
            return _within(path, plan_part())
    if path not in _FIELDS:
        raise FieldUnknown(f"{_shown(text)} is no field{_nearest('.'.join(path), _known())}")
    return _FIELDS[path]


def _named(path: tuple[str, ...]) -> Field:
    """What a job may have under any name."""
    match path:
        case ("tags", _):
            return Field(path, Kind.TAG)
        case ("metrics", _, "last" | "min" | "max"):
            return Field(path, Kind.NUMBER)
    shape = "tags.<key>" if path[0] == "tags" else "metrics.<name>.last, .min or .max"
    raise FieldUnknown(f'expected is {shape}; a name with other characters is quoted: "a.b"')


def _within(path: tuple[str, ...], part: SpecPart) -> Field:
    for depth, name in enumerate(path[1:], 1):
        inner = part.inner(name)
        if inner is None:
            before = ".".join(path[:depth])
            near = _nearest(name, part.names, f"{before}.")
            raise FieldUnknown(f"{_shown(f'{before}.{name}')} is no field{near}")
        part = inner
    return Field(path, Kind.JSON)


def _nearest(name: str, names: list[str], before: str = "") -> str:
    found = difflib.get_close_matches(name[:200], names, 1)
    return f": did you mean {before}{found[0]}?" if found else ""


def _known() -> list[str]:
    return [*(".".join(path) for path in _FIELDS), "loss", "spec", "plan", "tags", "metrics"]


def _shown(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:100]}…"  # noqa: PLR2004 - enough to see it


def _bare(step: str) -> str:
    return step[1:-1].replace('""', '"') if step.startswith('"') else step


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


_KINDS: Mapping[Kind, str] = {
    Kind.ID: "id parent",
    Kind.TEXT: (
        "name project queue notes created_by spec_sha256 summary.best.metric error.type "
        "error.message book.loss_sha256 book.weights_sha256"
    ),
    Kind.INTEGER: (
        "priority progress.epoch progress.batch progress.iteration progress.iterations_total "
        "summary.best.epoch summary.best.iteration book.rows book.expected"
    ),
    Kind.NUMBER: (
        "progress.fraction progress.iterations_per_second progress.eta_seconds latest.loss "
        "latest.lr summary.final_loss summary.best_loss summary.train_loss "
        "summary.train_accuracy summary.val_loss summary.val_accuracy summary.test_loss "
        "summary.test_accuracy summary.best.value"
    ),
    Kind.MOMENT: "created_at started_at finished_at latest.at book.archived_at",
    Kind.BOOLEAN: "reproducible book.complete",
}
_WORDS: Mapping[str, type[StrEnum]] = {
    "state": State,
    "wanted": Wish,
    "stop_reason": StopReason,
    "progress.phase": Phase,
}


def _fields() -> Iterator[Field]:
    for kind, names in _KINDS.items():
        yield from (Field(tuple(name.split(".")), kind) for name in names.split())
    for name, words in _WORDS.items():
        yield Field(tuple(name.split(".")), Kind.WORD, tuple(words))


_FIELDS: Mapping[tuple[str, ...], Field] = {field.path: field for field in _fields()}
FIELDS = tuple(_FIELDS.values())
"""Those with a place of their own in the tables; beside them spec.*, plan.*, tags.*, metrics.*."""
