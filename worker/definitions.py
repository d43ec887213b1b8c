"""Which callables a module defines, told from its text: nothing of it is run."""

import ast
from collections.abc import Collection, Iterator, Sequence

from models.domain.offers import Names

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


class _Anything(Exception):
    """What the module defines is only known once it runs."""


def defined_in(text: bytes, packages: Collection[str]) -> Names:
    """The names at the top of a module that may be called, sorted; None where none can tell.

    What a module merely imports is not its own, so that listing a package opens no door to what
    that uses; what it imports from its own package, or from one of `packages`, is. Names that
    begin with an underscore are private. A text that is no Python defines nothing.
    """
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return ()
    except (RecursionError, MemoryError, SystemError):
        # Of Python 3.11's own making, where two read at once (cpython issue 106905), or too deep.
        return None
    try:
        names = set(_names(body, packages))
    except _Anything:
        return None
    return tuple(sorted(name for name in names if not name.startswith("_")))


def _names(body: Sequence[ast.stmt], packages: Collection[str]) -> Iterator[str]:
    for statement in body:
        match statement:
            case ast.FunctionDef(name="__getattr__"):
                raise _Anything
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=targets, value=value) if not isinstance(value, _NOT_CALLABLE):
                yield from (each.id for each in targets if isinstance(each, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield from () if isinstance(value, _NOT_CALLABLE) else (name,)
            case ast.ImportFrom():
                yield from _imported(statement, packages)
            case _:
                for inner in _inside(statement):
                    yield from _names(inner, packages)


def _imported(statement: ast.ImportFrom, packages: Collection[str]) -> Iterator[str]:
    root = (statement.module or "").partition(".")[0]
    if not statement.level and root not in packages:
        return
    for alias in statement.names:
        if alias.name == "*":
            raise _Anything
        yield alias.asname or alias.name


def _inside(statement: ast.stmt) -> Iterator[Sequence[ast.stmt]]:
    """What runs at the top of the module, too: `if`, `try` and `with`."""
    if isinstance(statement, ast.If | ast.Try | ast.TryStar | ast.With):
        yield statement.body
        yield getattr(statement, "orelse", [])
        yield getattr(statement, "finalbody", [])
        for handler in getattr(statement, "handlers", []):
            yield handler.body
