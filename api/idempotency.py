"""The header Idempotency-Key: a POST that its client may send again."""

from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute

from api.bodies import JsonBytes, parse_json
from models.domain.errors import Breach, QueryInvalid
from services.idempotency import KeyedRequest, request_sha256

MOST_CHARACTERS = 255
REPLAYED = {"Idempotency-Replayed": "true"}

KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="1 to 255 printable ASCII characters. The same request with the same key "
        "makes nothing new: it is answered with what the first one made.",
    ),
]


async def keyed_request(
    request: Request, body: JsonBytes, idempotency_key: KeyHeader = None
) -> KeyedRequest | None:
    """Read the header and what it is the key of; None without the header.

    Raises:
        QueryInvalid: the header is empty, too long, there twice, or not printable ASCII.

    """
    if idempotency_key is None:
        return None
    _check(request.headers.getlist("idempotency-key"))
    route = request.scope["route"]
    name = route.path if isinstance(route, APIRoute) else request.url.path
    return KeyedRequest(idempotency_key, await run_in_threadpool(_sha256, name, body))


KeyedRequestDependency = Annotated[KeyedRequest | None, Depends(keyed_request)]


def _sha256(route: str, body: bytes) -> str:
    return request_sha256(route, parse_json(body))


def _check(values: list[str]) -> None:
    if len(values) > 1:
        raise _refused("the header is there more than once")
    (key,) = values
    if not 1 <= len(key) <= MOST_CHARACTERS:
        raise _refused(f"a key has 1 to {MOST_CHARACTERS} characters, not {len(key):,}")
    if not (key.isascii() and key.isprintable()):
        raise _refused("a key is made of printable ASCII characters")


def _refused(why: str) -> QueryInvalid:
    return QueryInvalid([Breach(("header", "idempotency-key"), why)])
