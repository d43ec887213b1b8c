"""Looking out for changes: one look at the database for all who wait or watch, none without them.

Who waits holds neither a thread nor a connection. A look comes when a hint says that a job has
changed, and every LOOK_SECONDS without one: hints may be lost. It reads what is new once for all
viewers who have seen the same, however many they are.
"""

import asyncio
import contextlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple
from uuid import UUID

from fastapi.concurrency import run_in_threadpool
from sqlalchemy import exc as database_errors

from api.apart import AWAY_SECONDS, BREATH_SECONDS, Apart, Looked
from api.connections import Connections, DatabaseSilent, Overloaded
from api.ear import Ear
from api.leaving import Leaving
from api.telling import Project, Seen, Telling, Topic, bye, look
from api.viewers import StreamsFull, Viewer
from foundation.logging import get_logger
from services.archive import Archives
from services.standing import Standing

log = get_logger("api")

LOOK_SECONDS = 2.0
"""Between two looks that nobody has asked for."""
HELD_BACK_SECONDS = 0.2
"""Until what waits for an older transaction is looked for again."""
STATEMENT_SECONDS = 2.0
"""For a statement that all wait for; one that is set apart has as long as any other of the API."""
MOST_TOPICS = 200
MOST_GROUPS = 500
"""In one look; what is left comes in the next."""
CLOSE_SECONDS = 1.0
QUERY_CANCELED = "57014"


_AWAY = (
    DatabaseSilent,
    Overloaded,
    database_errors.OperationalError,
    database_errors.InterfaceError,
    # A server that has become a standby, a session that it has ended because it stood still.
    database_errors.InternalError,
    database_errors.TimeoutError,
)


class _Waiter(NamedTuple):
    seen: Standing
    told: asyncio.Future[None]


@dataclass(slots=True)
class _Watch:
    """Who waits for a topic, and who watches it: those first whose turn it is."""

    waiters: set[_Waiter] = field(default_factory=set)
    viewers: dict[Viewer, None] = field(default_factory=dict)


@dataclass(slots=True)
class _Asked:
    """What a look is to find: what is new for whom, and where the jobs stand that are waited for.

    Viewers who have seen the same are a group.
    """

    groups: dict[Seen, list[Viewer]] = field(default_factory=dict)
    awaited: dict[UUID, list[_Waiter]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.groups) + len(self.awaited)

    def apart(self) -> "Iterator[_Asked]":
        for seen, viewers in self.groups.items():
            yield _Asked(groups={seen: viewers})
        for job, waiters in self.awaited.items():
            yield _Asked(awaited={job: waiters})


class Lookout:
    """Tells those who wait for a job that it is another, and those who watch what is new.

    Args:
        connections: of this process; each look takes a turn among them.
        leaving: ends every wait and every stream once the process is told to leave.
        listening_url: where hints are heard.
        most_viewers: at once.
        archives: where the rows of archived jobs are.

    """

    def __init__(
        self,
        connections: Connections,
        leaving: Leaving,
        listening_url: str,
        most_viewers: int,
        archives: Archives,
    ) -> None:
        self._connections, self._leaving = connections, leaving
        self._archives = archives
        self._most_viewers = most_viewers
        self._ear = Ear(listening_url, self._hear, self._stir_all)
        self._watches: dict[Topic, _Watch] = {}
        self._apart = Apart(self._look_apart, leaving, lambda topic: self._stir([topic]))
        self._dirty: dict[Topic, None] = {}
        self._stirred = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        leaving.call(self._stirred.set)

    @property
    def waiting(self) -> int:
        """How many wait right now."""
        return sum(len(watch.waiters) for watch in self._watches.values())

    @property
    def viewers(self) -> int:
        """How many watch right now."""
        return sum(len(watch.viewers) for watch in self._watches.values())

    @property
    def idle(self) -> bool:
        """Whether nobody looks, because nobody waits or watches."""
        return self._looking is None or self._looking.done()

    async def changed(self, job_id: UUID, seen: Standing, seconds: float) -> None:
        """Return once the job stands otherwise than was seen, or after so many seconds.

        Or at once where the process is told to leave.
        """
        waiter = _Waiter(seen, asyncio.get_running_loop().create_future())
        with self._watched(job_id) as watch:
            watch.waiters.add(waiter)
            try:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(waiter.told, seconds)
            finally:
                watch.waiters.discard(waiter)

    @contextlib.contextmanager
    def watching(self, seen: Seen) -> Iterator[Viewer]:
        """Let a viewer be told what is new since what it has seen, and then all that follows.

        Raises:
            StreamsFull: there are as many as there may be.

        """
        self.make_room()
        viewer = Viewer(seen, lambda: self._stir([seen.topic]))
        with self._watched(seen.topic) as watch:
            watch.viewers[viewer] = None
            try:
                yield viewer
            finally:
                watch.viewers.pop(viewer, None)

    def make_room(self) -> None:
        """See whether one more may watch.

        Raises:
            StreamsFull: there are as many as there may be.

        """
        if self.viewers >= self._most_viewers:
            raise StreamsFull(self._most_viewers)

    async def close(self) -> None:
        """Await the end of a look that is under way; call it once the process is told to leave."""
        if self._listening is not None:
            self._listening.cancel()
        ours = (self._looking, self._listening, *self._apart.tasks)
        tasks = [task for task in ours if task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)

    @contextlib.contextmanager
    def _watched(self, topic: Topic) -> Iterator[_Watch]:
        watch = self._watches.setdefault(topic, _Watch())
        self._stir([topic])
        if self.idle:
            self._looking = asyncio.create_task(self._look_on())
        if self._listening is None:
            self._listening = asyncio.create_task(self._ear.listen())
        try:
            yield watch
        finally:
            if not watch.waiters and not watch.viewers and self._watches.get(topic) is watch:
                del self._watches[topic]

    def _hear(self, jobs: Collection[UUID]) -> None:
        projects = (topic for topic in self._watches if isinstance(topic, Project))
        self._stir([*(job for job in jobs if job in self._watches), *projects])

    def _stir_all(self) -> None:
        self._stir(self._watches)

    def _stir(self, topics: Iterable[Topic]) -> None:
        # Who stands in line keeps its place.
        self._dirty.update(dict.fromkeys(topics))
        if self._dirty:
            self._stirred.set()

    async def _look_on(self) -> None:
        clock = asyncio.get_running_loop().time
        anyway_at = clock() + LOOK_SECONDS
        while self._watches and not self._leaving.begun:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(anyway_at):
                    await self._stirred.wait()
            if clock() >= anyway_at:
                anyway_at = clock() + LOOK_SECONDS
                self._stir_all()
            await self._look_once(self._take_stirred())
            await self._leaving.within(BREATH_SECONDS)
        if self._leaving.begun:
            self._say_good_bye()

    async def _look_once(self, topics: Sequence[Topic]) -> None:
        try:
            await self._look_for(self._asked(topics), apart=False)
        except _AWAY:
            # Who waits goes on waiting until its own time is over.
            self._stir(topics)
            await self._leaving.within(AWAY_SECONDS)

    async def _look_apart(self, topic: Topic) -> Looked:
        """Look for the viewers of one topic, with nobody else waiting for it."""
        clock = asyncio.get_running_loop().time
        asked, began = _Asked(), clock()
        if topic in self._watches and not self._leaving.begun:
            self._join(asked.groups, self._watches[topic], topic)
        try:
            await self._look_for(asked, apart=True)
        except _AWAY:
            return Looked(told=False, quick=False)
        return Looked(told=True, quick=clock() - began < STATEMENT_SECONDS / 2)

    async def _look_for(self, asked: _Asked, *, apart: bool) -> None:
        """Raise only where the database is away, or what is asked for alone takes too long."""
        try:
            await self._look(asked, apart=apart)
        except Exception as error:  # one group's faults must not blind all the others
            too_long = _took_too_long(error)
            if isinstance(error, _AWAY) and not too_long:
                raise
            if len(asked) > 1:
                await self._look_for_each(asked.apart(), apart=apart)
                return
            if too_long:
                log.warning("look.cut_off", seen=str([*asked.groups, *asked.awaited]))
                for seen in asked.groups:
                    self._apart.take_long(seen.topic)
                raise
            log.exception("look.failed", seen=str([*asked.groups, *asked.awaited]))
            for viewers in asked.groups.values():
                for viewer in viewers:
                    viewer.end()

    async def _look_for_each(self, parts: Iterable[_Asked], *, apart: bool) -> None:
        cut_off: Exception | None = None
        for part in parts:
            try:
                await self._look_for(part, apart=apart)
            except _AWAY as error:
                # All others wait, and are asked for together once what took long is set apart.
                if not apart or not _took_too_long(error):
                    raise
                cut_off = error
        if cut_off is not None:
            raise cut_off

    def _take_stirred(self) -> list[Topic]:
        topics = list(islice(self._dirty, MOST_TOPICS))
        for topic in topics:
            del self._dirty[topic]
        if not self._dirty:
            self._stirred.clear()
        return topics

    async def _look(self, asked: _Asked, *, apart: bool) -> None:
        if not asked:
            return
        async with self._connections.snapshot() as connection:
            found = await run_in_threadpool(
                look,
                connection,
                list(asked.awaited),
                list(asked.groups),
                self._archives,
                files=apart,
                statement_seconds=None if apart else STATEMENT_SECONDS,
            )
        for seen, telling in found.tellings.items():
            self._tell(asked.groups[seen], telling)
        for job, waiters in asked.awaited.items():
            now = found.standings.get(job)
            _answer(waiter for waiter in waiters if waiter.seen != now)

    def _asked(self, topics: Iterable[Topic]) -> _Asked:
        asked = _Asked()
        for topic in topics:
            watch = self._watches.get(topic)
            if watch is None:
                continue
            if topic in self._apart:
                self._apart.stir(topic)
            else:
                self._join(asked.groups, watch, topic)
            if isinstance(topic, UUID) and watch.waiters:
                asked.awaited[topic] = list(watch.waiters)
        return asked

    def _join(self, groups: dict[Seen, list[Viewer]], watch: _Watch, topic: Topic) -> None:
        """Add who is to be told, as far as there is room."""
        joined = []
        for viewer in watch.viewers:
            if not viewer.can_be_told:
                continue
            group = groups.get(viewer.seen)
            if group is None:
                if len(groups) >= MOST_GROUPS:
                    self._stir([topic])
                    continue
                group = groups[viewer.seen] = []
            group.append(viewer)
            joined.append(viewer)
        if topic in self._dirty:
            # The others come first then.
            for viewer in joined:
                watch.viewers[viewer] = watch.viewers.pop(viewer)

    def _tell(self, viewers: Iterable[Viewer], telling: Telling) -> None:
        for viewer in viewers:
            viewer.tell(telling)
        topic = telling.seen.topic
        if telling.in_file:
            self._apart.read_file(topic)
        if not telling.whole and not telling.chunk:
            # Who is given nothing takes nothing, and so would not ask for more.
            self._stir([topic])
        if telling.held_back:
            loop = asyncio.get_running_loop()
            loop.call_later(HELD_BACK_SECONDS, self._stir, [topic])

    def _say_good_bye(self) -> None:
        for watch in self._watches.values():
            _answer(watch.waiters)
            for viewer in watch.viewers:
                viewer.give(bye("leaving"))
                viewer.end()


def _took_too_long(error: Exception) -> bool:
    """Whether the database is there, and has ended a statement: somebody's, not all of them."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) == QUERY_CANCELED


def _answer(waiters: Iterable[_Waiter]) -> None:
    for waiter in waiters:
        if not waiter.told.done():
            waiter.told.set_result(None)
