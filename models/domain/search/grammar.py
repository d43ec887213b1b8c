"""The filter language: from its text to conditions.

    state = 'running' and (summary.best_loss < 0.5 or tags.team in ('vision', 'speech'))

The parser is a table (LALR) and conditions are built as it goes, so no text, however deep its
parentheses, uses up the stack.
"""

import math
from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Any, TypeVar

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from models.domain.errors import FilterInvalid
from models.domain.search.conditions import (
    Comparison,
    Condition,
    Either,
    Every,
    Likeness,
    Membership,
    Operator,
    Opposite,
)
from models.domain.search.fields import PATH, Field, FieldUnknown, find_field
from models.domain.search.values import Literal, Misfit, pattern_for, value_for

MOST_CHARACTERS = 4_000
MOST_CONDITIONS = 100
MOST_LEVELS = 20

_GRAMMAR = rf"""
?start: either
?either: every (_OR every)*
?every: one (_AND one)*
?one: _NOT one -> opposite
    | _OPEN either _CLOSE
    | PATH OPERATOR value -> comparison
    | PATH _LIKE TEXT -> likeness
    | PATH _NOT _LIKE TEXT -> unlikeness
    | PATH _IN _OPEN value (_COMMA value)* _CLOSE -> membership
    | PATH _NOT _IN _OPEN value (_COMMA value)* _CLOSE -> nonmembership
!?value: TEXT | NUMBER | NOT_FINITE | TRUE | FALSE | NULL

_AND.2: /and(?![\w.-])/i
_OR.2: /or(?![\w.-])/i
_NOT.2: /not(?![\w.-])/i
_LIKE.2: /like(?![\w.-])/i
_IN.2: /in(?![\w.-])/i
TRUE.2: /true(?![\w.-])/i
FALSE.2: /false(?![\w.-])/i
NULL.2: /null(?![\w.-])/i
NOT_FINITE.2: /[+-]?(nan|infinity)(?![\w.-])/i
NUMBER: /[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?(?![\w.])/i
TEXT: /'([^'\x00\ud800-\udfff]|'')*'/
PATH: /{PATH.pattern}/
OPERATOR: "=" | "!=" | "<=" | ">=" | "<" | ">"
_OPEN: "("
_CLOSE: ")"
_COMMA: ","
%ignore /[ \t\r\n]+/
"""

_SAID = {
    "PATH": "a field",
    "OPERATOR": "= != < <= > >=",
    "TEXT": "text in '…'",
    "NUMBER": "a number",
    "TRUE": "true, false, null",
    "_AND": "and",
    "_OR": "or",
    "_NOT": "not",
    "_LIKE": "like",
    "_IN": "in",
    "_OPEN": "(",
    "_CLOSE": ")",
    "_COMMA": "a comma",
    "$END": "the end",
}
"""What may come next, as the messages say it; words that go without saying are left out."""


def parse_filter(text: str) -> Condition:
    """Understand a filter.

    Raises:
        FilterInvalid: it is none, or too long; says where.

    """
    if len(text) > MOST_CHARACTERS:
        raise FilterInvalid(
            MOST_CHARACTERS + 1, f"a filter has at most {MOST_CHARACTERS:,} characters"
        )
    try:
        made: _Part = _parser().parse(text)  # type: ignore[assignment]
    except UnexpectedInput as error:
        raise _explained(error, text) from None
    return made.condition


T = TypeVar("T")


class _Part:
    """A condition while it is built: how many it holds, how deep they lie, where it began."""

    __slots__ = ("condition", "count", "levels", "position")

    def __init__(self, condition: Condition, position: int, inner: Sequence["_Part"] = ()) -> None:
        self.condition, self.position = condition, position
        self.count: int = sum(each.count for each in inner) or 1
        self.levels: int = 1 + max((each.levels for each in inner), default=0)
        if self.count > MOST_CONDITIONS:
            raise FilterInvalid(position, f"a filter has at most {MOST_CONDITIONS} conditions")
        if self.levels > MOST_LEVELS:
            raise FilterInvalid(position, f"more than {MOST_LEVELS} levels of and, or, not")


class _Builder(Transformer[Token, _Part]):
    """One method a rule of the grammar; the parser calls them from the inside out."""

    def either(self, parts: list[_Part]) -> _Part:
        condition = Either(tuple(part.condition for part in parts))
        return _Part(condition, parts[0].position, parts)

    def every(self, parts: list[_Part]) -> _Part:
        condition = Every(tuple(part.condition for part in parts))
        return _Part(condition, parts[0].position, parts)

    def opposite(self, parts: list[_Part]) -> _Part:
        (part,) = parts
        if isinstance(part.condition, Opposite):
            # However many there are, a row of nots is one or none.
            part.condition = part.condition.part
            part.levels -= 1
            return part
        return _Part(Opposite(part.condition), part.position, parts)

    def comparison(self, tokens: list[Token]) -> _Part:
        path, sign, literal = tokens
        field, operator = _field(path), Operator(str(sign))
        value = _at(literal, lambda: value_for(field, operator, _literal(literal)))
        return _Part(Comparison(field, operator, value), _position(path))

    def likeness(self, tokens: list[Token]) -> _Part:
        path, literal = tokens
        field = _field(path)
        pattern = _at(literal, lambda: pattern_for(field, _unquoted(literal)))
        return _Part(Likeness(field, pattern), _position(path))

    def unlikeness(self, tokens: list[Token]) -> _Part:
        return self.opposite([self.likeness(tokens)])

    def membership(self, tokens: list[Token]) -> _Part:
        path, *literals = tokens
        field = _field(path)
        values = [
            _at(each, lambda each=each: value_for(field, Operator.EQUAL, _literal(each)))  # type: ignore[misc]
            for each in literals
        ]
        if None in values:
            raise FilterInvalid(
                _position(literals[values.index(None)]), f"null is asked for by {field} = null"
            )
        return _Part(Membership(field, tuple(values)), _position(path))

    def nonmembership(self, tokens: list[Token]) -> _Part:
        return self.opposite([self.membership(tokens)])


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", transformer=_Builder())


def _field(path: Token) -> Field:
    try:
        return find_field(str(path))
    except FieldUnknown as error:
        raise FilterInvalid(_position(path), str(error)) from None


def _at(token: Token, act: Callable[[], T]) -> T:
    try:
        return act()
    except Misfit as error:
        raise FilterInvalid(_position(token), str(error)) from None


def _literal(token: Token) -> Literal:
    match token.type:
        case "TEXT":
            return _unquoted(token)
        case "NUMBER":
            return _number(token)
        case "NOT_FINITE":
            return float(token)
        case "NULL":
            return None
        case _:
            return token.type == "TRUE"


def _number(token: Token) -> int | float:
    value = float(token)
    if math.isinf(value):
        raise Misfit("the number is larger than any that a job can have")
    whole = int(token) if token.lstrip("+-").isdigit() else None
    return whole if whole is not None and abs(whole) < 2**63 else value


def _unquoted(token: Token) -> str:
    return str(token)[1:-1].replace("''", "'")


def _position(token: Token) -> int:
    return (token.start_pos or 0) + 1


def _explained(error: UnexpectedInput, text: str) -> FilterInvalid:
    expected: Collection[str] = ()
    position = len(text) + 1
    if isinstance(error, UnexpectedToken):
        expected = error.accepts or error.expected
        if error.token.type != "$END":
            position = _position(error.token)
    elif isinstance(error, UnexpectedCharacters):
        expected = error.allowed
        place: Any = error  # lark declares the position as None
        position = place.pos_in_stream + 1
    words = [said for name, said in _SAID.items() if name in expected]
    found = "the filter ends here" if position > len(text) else f"{text[position - 1 :][:20]!r}"
    return FilterInvalid(position, f"{found}; expected: {', '.join(words)}")
