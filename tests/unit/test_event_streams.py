"""Streams of events as the server sees them: clients that stall, leave, or hear nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from starlette.types import Message

from api.event_streams import EventStream
from api.frames import COMMENT
from api.leaving import Leaving
from api.telling import JobSeen, Seen, Telling
from api.viewers import MOST_WAITING_BYTES, Viewer
from foundation.ids import new_id
from services.following import Mark

SEEN = JobSeen(new_id(), Mark())
DEADLINE_SECONDS = 20.0


class Client:
    """The server's side of a client, and the viewer that its stream is for."""

    def __init__(self, *, stalls_after: int | None = None) -> None:
        self.messages: list[Message] = []
        self.gone = asyncio.Event()
        self.viewer = Viewer(SEEN, lambda: None)
        self.watches = False
        self._stalls_after = stalls_after
        self._took = asyncio.Condition()

    @property
    def body(self) -> list[bytes]:
        return [each["body"] for each in self.messages if each["type"] == "http.response.body"]

    async def send(self, message: Message) -> None:
        if len(self.messages) == self._stalls_after:
            await asyncio.Event().wait()
        self.messages.append(message)
        async with self._took:
            self._took.notify_all()

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def has_taken(self, count: int) -> None:
        async with self._took:
            await self._took.wait_for(lambda: len(self.messages) >= count)

    @contextmanager
    def watching(self, seen: Seen) -> Iterator[Viewer]:
        assert seen == SEEN
        self.watches = True
        try:
            yield self.viewer
        finally:
            self.watches = False


def stream_to(
    client_of: Callable[[], Client],
    act: Callable[[Client], Awaitable[None]],
    *,
    heartbeat_seconds: float = 600,
    patience_seconds: float = 600,
) -> Client:
    """Run a stream to its end while something happens to it."""

    async def run() -> Client:
        client = client_of()
        stream = EventStream(
            client.watching,
            SEEN,
            Leaving(),
            heartbeat_seconds=heartbeat_seconds,
            patience_seconds=patience_seconds,
        )
        async with asyncio.timeout(DEADLINE_SECONDS):
            await asyncio.gather(stream({"type": "http"}, client.receive, client.send), act(client))
        return client

    return asyncio.run(run())


def telling(chunk: bytes, *, over: bool = False) -> Telling:
    return Telling(chunk, SEEN, over=over)


def test_what_is_told_is_sent_in_order_and_ends_with_the_last_word() -> None:
    async def tell(client: Client) -> None:
        await client.has_taken(2)
        client.viewer.tell(telling(b"one"))
        client.viewer.tell(telling(b"two"))
        await client.has_taken(3)
        client.viewer.tell(telling(b""))
        client.viewer.tell(telling(b"bye", over=True))

    client = stream_to(Client, tell)
    assert client.body == [COMMENT, b"onetwo", b"bye", b""]
    assert [each.get("more_body") for each in client.messages] == [None, True, True, True, False]
    assert not client.watches


def test_who_is_told_nothing_gets_comments() -> None:
    async def wait(client: Client) -> None:
        await client.has_taken(5)
        client.viewer.end()

    client = stream_to(Client, wait, heartbeat_seconds=0.01)
    assert set(client.body[:-1]) == {COMMENT}
    assert len(client.body) >= 5


def test_who_leaves_is_watched_for_no_longer() -> None:
    async def leave(client: Client) -> None:
        await client.has_taken(2)
        assert client.watches
        client.gone.set()

    assert not stream_to(Client, leave).watches


def test_who_takes_nothing_for_too_long_loses_the_stream() -> None:
    async def nothing(_client: Client) -> None: ...

    client = stream_to(lambda: Client(stalls_after=1), nothing, patience_seconds=0.05)
    assert (client.body, client.watches) == ([], False)


def test_who_has_too_much_waiting_loses_the_stream_at_once() -> None:
    async def tell(client: Client) -> None:
        await client.has_taken(1)
        while not client.viewer.over:
            client.viewer.tell(telling(b"x" * (MOST_WAITING_BYTES // 4)))

    client = stream_to(lambda: Client(stalls_after=2), tell)
    assert not client.watches


def test_what_waits_for_a_viewer_is_bounded() -> None:
    async def fill() -> int:
        viewer = Viewer(SEEN, lambda: None)
        told = 0
        while not viewer.over:
            viewer.tell(telling(b"x" * 10_000))
            told += 10_000
        viewer.tell(telling(b"more"))
        return told

    assert asyncio.run(fill()) <= MOST_WAITING_BYTES + 10_000


def test_who_has_much_to_catch_up_takes_it_piece_by_piece() -> None:
    async def catch_up() -> tuple[list[bool], int]:
        ready: list[None] = []
        viewer = Viewer(SEEN, lambda: ready.append(None))
        can_be_told = [viewer.can_be_told]
        viewer.tell(Telling(b"a piece", SEEN, whole=False))
        can_be_told.append(viewer.can_be_told)
        assert await viewer.take(1) == b"a piece"
        can_be_told.append(viewer.can_be_told)
        return can_be_told, len(ready)

    assert asyncio.run(catch_up()) == ([True, False, True], 1)
