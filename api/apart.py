"""What is looked for beside the looks that all wait for: it lies in a file, or takes long."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from api.leaving import Leaving
from api.telling import Topic

BREATH_SECONDS = 0.05
"""Between two looks: hints that come faster are one."""
AWAY_SECONDS = 0.5
"""Until a look that has failed is tried again."""
LEAST_SECONDS = 60.0
"""For which what took long has to be quick, until all look for it together with the others."""


class Looked(NamedTuple):
    """How a look has gone.

    Args:
        told: it has not failed, and need not be tried again.
        quick: all could have waited for it.

    """

    told: bool
    quick: bool


@dataclass(slots=True)
class _Place:
    stirred: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Apart:
    """The topics that are looked for apart: of each kind one at a time, and nobody waits for it.

    Args:
        look: looks for the viewers of a topic, with as much time as it takes.
        leaving: ends them all.
        on_left: called with a topic that is not apart any more.

    """

    def __init__(
        self,
        look: Callable[[Topic], Awaitable[Looked]],
        leaving: Leaving,
        on_left: Callable[[Topic], object],
    ) -> None:
        self._look, self._leaving, self._on_left = look, leaving, on_left
        self._one_file, self._one_slow = asyncio.Semaphore(1), asyncio.Semaphore(1)
        self._places: dict[Topic, _Place] = {}
        leaving.call(self._stir_all)

    def __contains__(self, topic: Topic) -> bool:
        return topic in self._places

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        return [place.task for place in self._places.values() if place.task is not None]

    def stir(self, topic: Topic) -> None:
        """Say that there may be something new of one that is apart."""
        self._places[topic].stirred.set()

    def read_file(self, topic: Topic) -> None:
        """Look for what lies in a file, until it was told."""
        self._set_apart(topic, self._until_told)

    def take_long(self, topic: Topic) -> None:
        """Look for what takes long whenever it is stirred, until it has been quick for a while.

        What was slow once will be again, and each time would cost all others the time after
        which it is cut off.
        """
        self._set_apart(topic, self._until_quick)

    def _set_apart(self, topic: Topic, way: Callable[[Topic, _Place], Awaitable[None]]) -> None:
        if topic not in self._places:
            place = self._places[topic] = _Place()
            place.task = asyncio.create_task(self._stay(topic, place, way))

    async def _stay(
        self, topic: Topic, place: _Place, way: Callable[[Topic, _Place], Awaitable[None]]
    ) -> None:
        try:
            await way(topic, place)
        finally:
            del self._places[topic]
            self._on_left(topic)

    async def _until_told(self, topic: Topic, _: _Place) -> None:
        while not (await self._look_once(topic, self._one_file)).told:
            await self._leaving.within(AWAY_SECONDS)

    async def _until_quick(self, topic: Topic, place: _Place) -> None:
        clock = asyncio.get_running_loop().time
        until = clock() + LEAST_SECONDS
        while clock() < until and not self._leaving.begun:
            place.stirred.clear()
            told, quick = await self._look_once(topic, self._one_slow)
            if not told or not quick:
                until = clock() + LEAST_SECONDS
            if told:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(until):
                        await place.stirred.wait()
            await self._leaving.within(BREATH_SECONDS if told else AWAY_SECONDS)

    async def _look_once(self, topic: Topic, turns: asyncio.Semaphore) -> Looked:
        async with turns:
            return await self._look(topic)

    def _stir_all(self) -> None:
        for place in self._places.values():
            place.stirred.set()
