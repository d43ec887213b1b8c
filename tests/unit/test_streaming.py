"""Streams: pieces in order, and what they are read from is closed however they end."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack

import anyio
import pytest
from starlette.types import Message

from api.leaving import Leaving
from api.streaming import PieceStream, Writing

SCOPE = {"type": "http", "asgi": {"spec_version": "2.3"}}


class Client:
    """The server's side of a client: takes what is sent, leaves or stalls when told."""

    def __init__(self, *, leaves_after: int | None = None, stalls: bool = False) -> None:
        self.body: list[bytes] = []
        self.gone = asyncio.Event()
        self._leaves_after, self._stalls = leaves_after, stalls

    async def send(self, message: Message) -> None:
        if message["type"] != "http.response.body":
            return
        if self._stalls:
            await anyio.sleep_forever()
        self.body.append(message["body"])
        if len(self.body) == self._leaves_after:
            self.gone.set()
            await anyio.sleep_forever()

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}


def stream_to(
    make_client: Callable[[], Client],
    pieces: Iterator[int],
    closed: list[str],
    *,
    patience_seconds: float = 30,
) -> bytes:
    """Run a stream to its end; `closed` gets a word once its source is closed."""

    async def run() -> bytes:
        resources = AsyncExitStack()
        resources.callback(closed.append, "closed")
        writing: Writing[int] = Writing(lambda piece: b"%d;" % piece, "text/plain", b"head;")
        client = make_client()
        stream = PieceStream(
            pieces, writing, resources, leaving=Leaving(), patience_seconds=patience_seconds
        )
        await stream(SCOPE, client.receive, client.send)
        return b"".join(client.body)

    return asyncio.run(run())


def test_pieces_are_sent_in_order_and_the_source_is_closed() -> None:
    closed: list[str] = []
    assert stream_to(Client, iter(range(5)), closed) == b"head;0;1;2;3;4;"
    assert closed == ["closed"]


def test_a_client_that_leaves_ends_the_stream() -> None:
    closed: list[str] = []
    endless = iter(int, 1)
    assert stream_to(lambda: Client(leaves_after=3), endless, closed) == b"head;0;0;"
    assert closed == ["closed"]


def test_a_client_that_takes_nothing_loses_its_stream() -> None:
    closed: list[str] = []
    with pytest.raises(TimeoutError):
        stream_to(lambda: Client(stalls=True), iter(range(5)), closed, patience_seconds=0.05)
    assert closed == ["closed"]


def test_a_source_that_fails_is_closed_and_its_error_is_told() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ConnectionResetError

    closed: list[str] = []
    with pytest.raises(ConnectionResetError):
        stream_to(Client, failing(), closed)
    assert closed == ["closed"]
