"""Which callables a module defines, told from its text: nothing of it is run."""

import ast
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

_NOT_CALLABLE = (
    ast.Constant,
    ast.Dict,
    ast.DictComp,
    ast.JoinedStr,
    ast.List,
    ast.ListComp,
    ast.Set,
    ast.SetComp,
    ast.Tuple,
)


@dataclass(frozen=True, slots=True)
class Definitions:
    """What a module defines at its top.

    Attributes:
        names: those that may be called, and are not private.
        stars: modules of which it takes over all that they define.
        anything: it makes up names while it runs, or can't be read.

    """

    names: frozenset[str] = frozenset()
    stars: tuple[str, ...] = ()
    anything: bool = False


def definitions_in(
    text: bytes, packages: Collection[str], module: str, *, package: bool = False
) -> Definitions:
    """Read a module, a package's own where `package` says so; nothing of it is run.

    What a module merely imports is not its own, so that listing a package opens no door to what
    that uses; what it imports from its own package, or from one of `packages`, is. A text that is
    no Python defines nothing.
    """
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return Definitions()
    except (RecursionError, MemoryError, SystemError):
        # Of Python 3.11's own making, where two read at once (cpython issue 106905), or too deep.
        return Definitions(anything=True)
    place = module.split(".") if package else module.split(".")[:-1]
    found = list(_names(body, packages, place))
    return Definitions(
        names=frozenset(name for name in found if not name.startswith(("_", _STAR))),
        stars=tuple(name.removeprefix(_STAR) for name in found if name.startswith(_STAR)),
        anything="__getattr__" in found,
    )


_STAR = "*"


def _names(
    body: Sequence[ast.stmt], packages: Collection[str], place: Sequence[str]
) -> Iterator[str]:
    """Names, and modules of which all is taken over, behind a star."""
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=targets, value=value) if not isinstance(value, _NOT_CALLABLE):
                yield from (each.id for each in targets if isinstance(each, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield from () if isinstance(value, _NOT_CALLABLE) else (name,)
            case ast.ImportFrom():
                yield from _imported(statement, packages, place)
            case _:
                for inner in _inside(statement):
                    yield from _names(inner, packages, place)


def _imported(
    statement: ast.ImportFrom, packages: Collection[str], place: Sequence[str]
) -> Iterator[str]:
    above = place[: len(place) - statement.level + 1] if statement.level else ()
    source = ".".join([*above, *filter(None, [statement.module])])
    if not statement.level and source.partition(".")[0] not in packages:
        return
    for alias in statement.names:
        yield _STAR + source if alias.name == "*" else alias.asname or alias.name


def _inside(statement: ast.stmt) -> Iterator[Sequence[ast.stmt]]:
    """What runs at the top of the module, too: `if`, `try` and `with`."""
    if isinstance(statement, ast.If | ast.Try | ast.TryStar | ast.With):
        yield statement.body
        yield getattr(statement, "orelse", [])
        yield getattr(statement, "finalbody", [])
        for handler in getattr(statement, "handlers", []):
            yield handler.body
