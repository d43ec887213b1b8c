"""Starting again what dies, with patience, but not for ever."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cli.stack.errors import ServerFailed
from cli.stack.logs import bound, last_lines

# A part that lived this long was well: its next death is its first.
_WELL_SECONDS = 30.0
_DEATHS = 5
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 8.0


class Part(Protocol):
    """What the watch needs of a server or a role."""

    @property
    def name(self) -> str: ...

    @property
    def log(self) -> Path: ...

    @property
    def alive(self) -> bool: ...

    def start(self) -> None: ...


@dataclass(slots=True)
class _Health:
    started: float
    deaths: int = 0
    start_again_at: float | None = None


class Watch:
    """Keeps parts alive; call `look` every moment.

    Args:
        parts: in the order in which dead ones are started again.
        now: a clock in seconds, at the time the parts were started.
        tell: is told, in words, what died and what was started again.

    """

    def __init__(
        self, parts: Sequence[Part], now: float, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self._parts = [(part, _Health(now)) for part in parts]
        self._tell = tell

    def look(self, now: float) -> None:
        """Start again what is dead and due, and keep the logs short.

        Raises:
            ServerFailed: a part died again and again soon after its start; has its last lines.

        """
        for part, health in self._parts:
            bound(part.log)
            if part.alive:
                continue
            if health.start_again_at is None:
                self._count_death(part, health, now)
            elif now >= health.start_again_at:
                self._start_again(part, health, now)

    def _count_death(self, part: Part, health: _Health, now: float) -> None:
        health.deaths = 1 if now - health.started > _WELL_SECONDS else health.deaths + 1
        if health.deaths >= _DEATHS:
            what = f"died {health.deaths} times soon after its start"
            raise ServerFailed(part.name, what, last_lines(part.log))
        pause = min(_FIRST_PAUSE_SECONDS * 2 ** (health.deaths - 1), _LONGEST_PAUSE_SECONDS)
        health.start_again_at = now + pause
        self._tell(f"{part.name} ended; it is started again in {pause:g} s (log: {part.log})")

    def _start_again(self, part: Part, health: _Health, now: float) -> None:
        health.started, health.start_again_at = now, None
        try:
            part.start()
        except ServerFailed as failure:
            self._tell(str(failure))  # it is dead, and counted at the next look
        else:
            self._tell(f"{part.name} is started again")
