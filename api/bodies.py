"""Bodies from strangers: bounded, typed, strict JSON, or an error that names what is wrong."""

from typing import Annotated

import orjson
from fastapi import Depends, Request

from models.domain.errors import Breach, GradbookError, Invalid

JSON_TYPES = frozenset({"application/json"})
PATCH_TYPES = frozenset({"application/json", "application/merge-patch+json"})

# A spec needs nine levels and one a nested `residual`. What reads a body further in recurses,
# so this stays well below Python's own limit.
DEEPEST = 100

# A client that sends on after its answer may never see it, so somewhat too large a body is
# read to its end, and thrown away.
DRAINED = 8


class BodyTooLarge(GradbookError):
    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        super().__init__(f"a body may hold at most {limit_bytes:,} bytes")


class ContentTypeUnsupported(GradbookError):
    def __init__(self, found: str, allowed: frozenset[str]) -> None:
        self.found, self.allowed = found, allowed
        words = " or ".join(sorted(allowed))
        super().__init__(f"the body's content type is {found[:100]!r}; send {words}")


class BodyMalformed(Invalid):
    """It is no JSON, or JSON that no spec could be."""

    def __init__(self, msg: str, loc: tuple[str | int, ...] = ()) -> None:
        super().__init__([Breach(loc, msg)])


async def read_body(request: Request, allowed: frozenset[str]) -> bytes:
    """Read the whole body of one of the allowed content types.

    Raises:
        ContentTypeUnsupported: it is declared as something else, or as nothing.
        BodyTooLarge: it is longer than `settings.api.max_body_bytes`, whatever it declares.

    """
    _check_content_type(request, allowed)
    limit: int = request.app.state.parts.settings.api.max_body_bytes
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > DRAINED * limit:
        raise BodyTooLarge(limit)
    body, length = bytearray(), 0
    async for chunk in request.stream():
        length += len(chunk)
        if length > DRAINED * limit:
            break
        if length <= limit:
            body += chunk
    if length > limit:
        raise BodyTooLarge(limit)
    return bytes(body)


def parse_json(body: bytes) -> object:
    """Parse strict JSON (RFC 8259): UTF-8, no NaN or Infinity, no name twice, no NUL.

    Raises:
        BodyMalformed: it is not that.

    """
    try:
        parsed: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BodyMalformed(f"not JSON: {error}") from None
    _check_values(parsed)
    return parsed


async def json_body(request: Request) -> object:
    return parse_json(await read_body(request, JSON_TYPES))


async def patch_body(request: Request) -> object:
    return parse_json(await read_body(request, PATCH_TYPES))


JsonBody = Annotated[object, Depends(json_body)]
PatchBody = Annotated[object, Depends(patch_body)]


def _check_content_type(request: Request, allowed: frozenset[str]) -> None:
    declared = request.headers.get("content-type", "")
    media_type, _, parameters = declared.partition(";")
    charset = parameters.replace(" ", "").replace('"', "").lower()
    foreign = "charset=" in charset and "charset=utf-8" not in charset
    if media_type.strip().lower() not in allowed or foreign:
        raise ContentTypeUnsupported(declared, allowed)


def _check_values(parsed: object) -> None:
    """Refuse what PostgreSQL cannot store (NUL) and what is nested too deep to be read."""
    waiting: list[tuple[tuple[str | int, ...], object]] = [((), parsed)]
    while waiting:
        loc, value = waiting.pop()
        if isinstance(value, str) and "\0" in value:
            raise BodyMalformed("a NUL character (\\u0000) is not allowed", loc)
        if len(loc) > DEEPEST:
            raise BodyMalformed(f"nested deeper than {DEEPEST} levels")
        if isinstance(value, dict):
            if any("\0" in name for name in value):
                raise BodyMalformed("a NUL character (\\u0000) is not allowed in a name", loc)
            waiting.extend(((*loc, name), inner) for name, inner in value.items())
        elif isinstance(value, list):
            waiting.extend(((*loc, index), inner) for index, inner in enumerate(value))
