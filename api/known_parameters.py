"""Parameters that no route knows are refused: a misspelt `limt=5` must not pass for the default."""

import difflib
from collections.abc import Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from models.domain.errors import Breach, QueryInvalid

NUL = "\0"


async def check_parameters(request: Request) -> None:
    """Refuse unknown query parameters, and NULs, which no text of the database can hold.

    Raises:
        QueryInvalid: names each parameter, with the nearest that exists.

    """
    known = _known(request)
    breaches = [
        Breach(("query", name[:100]), _unknown(name, known))
        for name in request.query_params
        if name not in known
    ]
    breaches += [
        Breach((place, name), "a NUL character is not allowed")
        for place, values in (
            ("query", request.query_params.multi_items()),
            ("path", request.path_params.items()),
        )
        for name, value in values
        if NUL in str(value)
    ]
    if breaches:
        raise QueryInvalid(breaches)


def _known(request: Request) -> set[str]:
    route = request.scope["route"]
    return set(_query_names(route.dependant)) if isinstance(route, APIRoute) else set()


def _query_names(dependant: Dependant) -> Iterator[str]:
    """What a route reads of the query, by itself or through what it depends on."""
    yield from (parameter.alias for parameter in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _query_names(inner)


def _unknown(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"unknown parameter: did you mean {near[0]}?" if near else "unknown parameter"
