"""The control folder: which moments are armed, and which process each of them has struck."""

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from foundation.faults import Moment

SITE = Path(__file__).parent / "site"
VARIABLE = "GRADBOOK_CHAOS"


class Action(StrEnum):
    """What becomes of the process that comes to an armed moment."""

    KILL = "kill"
    STOP = "stop"
    CRASH = "crash"
    """PostgreSQL ends at once (SIGQUIT to its postmaster) while the process waits for that."""
    LOSE = "lose"
    """It is told that its connection broke; after a commit, say, whose answer is lost so."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A moment that struck."""

    moment: Moment
    action: Action
    pid: int
    at: float


class Control:
    """Arms moments and reads what they struck; see site/sitecustomize.py for the other side.

    Args:
        folder: made here; the processes to be struck get it in GRADBOOK_CHAOS.

    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._armed = folder / "armed"
        self._hits = folder / "hits"
        for each in (self._armed, self._hits):
            each.mkdir(parents=True)

    @property
    def environment(self) -> dict[str, str]:
        """What a process must be started with to be struck."""
        places = filter(None, (str(SITE), os.environ.get("PYTHONPATH")))
        return {"PYTHONPATH": os.pathsep.join(places), VARIABLE: str(self._folder)}

    def arm(self, moment: Moment, action: Action) -> None:
        """Strike the next process that comes to the moment, once."""
        written = self._folder / "next"
        written.write_text(action)
        written.rename(self._armed / moment)

    def is_armed(self, moment: Moment) -> bool:
        return (self._armed / moment).exists()

    def disarm(self) -> None:
        """Strike nobody any more."""
        for each in self._armed.iterdir():
            each.unlink(missing_ok=True)

    def hits(self) -> list[Hit]:
        """All hits so far, in order."""
        found = []
        for path in self._hits.iterdir():
            moment, pid, nanoseconds = path.name.split(".")
            action = Action(path.read_text())
            found.append(Hit(Moment(moment), action, int(pid), int(nanoseconds) / 1e9))
        return sorted(found, key=lambda hit: hit.at)
