"""Answers made smaller on their way, as the client's `Accept-Encoding` has it: zstd, or gzip.

Text and columns only: Parquet and weights are as small as they get, and a stream of events is
sent as it happens. The same answer has other bytes in each coding, so a tag of the bytes becomes
a weak one, which still tells whether the content is what the client has.
"""

import zlib
from typing import Protocol

import zstandard
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.negotiation import preferred_coding

COMPRESSED = frozenset(
    {
        "application/json",
        "application/problem+json",
        "application/x-ndjson",
        "application/vnd.apache.arrow.stream",
        "application/javascript",
        "text/csv",
        "text/css",
        "text/html",
        "text/javascript",
        "text/plain",
    }
)
# Below it the headers weigh more than what is saved.
LEAST_BYTES = 1_024
# So much is compressed in less than a millisecond; more is a thread's work.
INLINE_BYTES = 32_768
# Beyond these levels rows get hardly smaller, and take much longer.
ZSTD_LEVEL = 1
GZIP_LEVEL = 1
_GZIP_WINDOW = 31
"""The largest window (15), and gzip's header (16)."""

_NOT_MODIFIED = 304
# Without a body, or with a part of one, which is counted in the bytes of the whole.
_LEFT_AS_THEY_ARE = frozenset({204, 205, 206, _NOT_MODIFIED})


class Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def compressor_of(coding: str) -> Compressor:
    """Begin a body in this coding, `zstd` or `gzip`."""
    if coding == "zstd":
        return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj()
    return zlib.compressobj(GZIP_LEVEL, wbits=_GZIP_WINDOW)


class Compression:
    """Plain ASGI, so that answers that stream are compressed piece by piece."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "HEAD":
            await self.app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        coding = preferred_coding(", ".join(asked.getlist("accept-encoding")))
        answer = _Answer(coding, asked.get("if-none-match", ""), send)
        await self.app(scope, receive, answer.send)


class _Answer:
    """One answer on its way; its start is held back until its first bytes tell how long it is."""

    def __init__(self, coding: str | None, known: str, send: Send) -> None:
        self._coding, self._known, self._send = coding, known, send
        self._start: Message | None = None
        self._compressor: Compressor | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] == "http.response.body" and self._start is not None:
            await self._decide(self._start, message)
        elif message["type"] == "http.response.body" and self._compressor is not None:
            await self._send({**message, "body": await self._compressed(message)})
        else:
            await self._send(message)

    async def _begin(self, start: Message) -> None:
        headers = MutableHeaders(scope=start)
        if start["status"] == _NOT_MODIFIED and "etag" in headers:
            # What the client has may have been compressed; then it knows the weak tag.
            headers.add_vary_header("Accept-Encoding")
            if f"W/{headers['etag']}" in self._known:
                _weaken(headers)
        elif _can_be_smaller(start["status"], headers):
            headers.add_vary_header("Accept-Encoding")
            if self._coding is not None:
                self._start = start
                return
        await self._send(start)

    async def _decide(self, start: Message, first: Message) -> None:
        body, more = first.get("body", b""), first.get("more_body", False)
        self._start = None
        if more or len(body) >= LEAST_BYTES:
            self._compressor = compressor_of(self._coding or "")
            first = {**first, "body": await self._compressed(first)}
            headers = MutableHeaders(scope=start)
            headers["Content-Encoding"] = self._coding or ""
            _weaken(headers)
            del headers["Content-Length"], headers["Accept-Ranges"]
            if not more:
                headers["Content-Length"] = str(len(first["body"]))
        await self._send(start)
        await self._send(first)

    async def _compressed(self, message: Message) -> bytes:
        body, last = message.get("body", b""), not message.get("more_body", False)
        if len(body) <= INLINE_BYTES:
            return self._compress(body, last=last)
        return await run_in_threadpool(self._compress, body, last=last)

    def _compress(self, body: bytes, *, last: bool) -> bytes:
        compressor = self._compressor
        if compressor is None:
            return body
        written = compressor.compress(body)
        return written + compressor.flush() if last else written


def _can_be_smaller(status: int, headers: Headers) -> bool:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    known = kind in COMPRESSED and "content-encoding" not in headers
    return known and status not in _LEFT_AS_THEY_ARE


def _weaken(headers: MutableHeaders) -> None:
    etag = headers.get("etag")
    if etag is not None and not etag.startswith("W/"):
        headers["ETag"] = f"W/{etag}"
