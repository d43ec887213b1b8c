"""Bodies from strangers: bounded, typed, strict JSON, or an error that names what is wrong."""

import json
from typing import Annotated

import orjson
from fastapi import Depends, Request

from api.culprits import find_culprits
from models.domain.errors import Breach, Invalid

JSON_TYPES = frozenset({"application/json"})
PATCH_TYPES = frozenset({"application/json", "application/merge-patch+json"})

# A client that sends on after its answer may never see it, so somewhat too large a body is
# read to its end, and thrown away.
DRAINED = 8


class BodyTooLarge(Invalid):
    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        super().__init__([Breach((), f"a body may hold at most {limit_bytes:,} bytes")])


class ContentTypeUnsupported(Invalid):
    def __init__(self, found: str, allowed: frozenset[str], header: str = "content-type") -> None:
        self.found, self.allowed = found, allowed
        words = " or ".join(sorted(allowed))
        super().__init__([Breach(("header", header), f"the body is {found[:100]!r}; send {words}")])


class BodyMalformed(Invalid):
    """It is no JSON, or JSON that no spec could be."""


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
    """Parse strict JSON (RFC 8259): UTF-8, no NaN or Infinity, no name twice in an object.

    Raises:
        BodyMalformed: it is not that.

    """
    try:
        parsed: object = orjson.loads(body)
        # orjson is strict and bounds the nesting, but of a name given twice it keeps the last.
        json.loads(body, object_pairs_hook=_refuse_twins)
    except ValueError as error:
        breaches = find_culprits(body) or [Breach((), f"not JSON: {error}")]
        raise BodyMalformed(breaches) from None
    except RecursionError:
        raise BodyMalformed([Breach((), "nested too deep")]) from None
    return parsed


async def json_bytes(request: Request) -> bytes:
    return await read_body(request, JSON_TYPES)


async def patch_bytes(request: Request) -> bytes:
    return await read_body(request, PATCH_TYPES)


JsonBytes = Annotated[bytes, Depends(json_bytes)]
PatchBytes = Annotated[bytes, Depends(patch_bytes)]


def _refuse_twins(pairs: list[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name stands twice in one object")


def _check_content_type(request: Request, allowed: frozenset[str]) -> None:
    declared = request.headers.get("content-type", "")
    media_type, _, parameters = declared.partition(";")
    charset = parameters.replace(" ", "").replace('"', "").lower()
    foreign = "charset=" in charset and "charset=utf-8" not in charset
    if media_type.strip().lower() not in allowed or foreign:
        raise ContentTypeUnsupported(declared, allowed)
    coding = request.headers.get("content-encoding", "identity").lower()
    if coding != "identity":
        raise ContentTypeUnsupported(f"{declared} in {coding}", allowed, "content-encoding")
