"""Was it the kernel, short of memory, that ended a trainer? What its log and its counters say."""

import contextlib
import os
import re
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROCESS = Path("/proc/self")
KERNEL_LOG = Path("/dev/kmsg")
FIRST_PID_NAMESPACE = 4_026_531_836
"""The kernel's PROC_PID_INIT_INO. In another namespace its log speaks of other pids than ours."""
RECORD_BYTES = 8192
"""The kernel refuses a smaller buffer than its longest record."""

VICTIM = re.compile(r"\bKill(?:ed)? process (\d+)\b|\boom-kill:.*,pid=(\d+)\b")
OOM_KILL = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)
OCTAL = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """A line of mountinfo, as far as control groups need it.

    Args:
        kind: of the file system: "cgroup2", or "cgroup" for version 1.
        root: the part of the file system that is seen at `point`.
        options: of the file system; version 1 names its controllers here.

    """

    kind: str
    root: str
    point: str
    options: tuple[str, ...]


def counter_files(process: Path) -> list[Path]:
    """The files in which the process's control groups count the kernel's kills; none is certain.

    Args:
        process: its folder in /proc.

    """
    try:
        groups = (process / "cgroup").read_text()
        mounts = list(_mounts((process / "mountinfo").read_text()))
        named = list(_named(groups, mounts))
    except (OSError, ValueError, IndexError):
        return []
    return [path for path in named if count_kills(path) is not None]


def count_kills(counter: Path) -> int | None:
    """How many processes of its group the kernel has killed; None where the file doesn't tell.

    Version 2's memory.events counts groups within the group too, version 1's memory.oom_control
    only its own processes.
    """
    try:
        found = OOM_KILL.search(counter.read_text())
    except (OSError, ValueError):
        return None
    return int(found[1]) if found else None


def victims(records: str) -> dict[int, str]:
    """Who was killed for want of memory, by records of /dev/kmsg: the kernel's words by pid."""
    named: dict[int, str] = {}
    for record in records.splitlines():
        head, _, words = record.partition(";")
        # Below 8 speaks the kernel: whoever may write there is given a facility of his own.
        priority = head.split(",")[0]
        found = VICTIM.search(words)
        if found and priority.isdigit() and int(priority) < 8:  # noqa: PLR2004
            named[int(found[1] or found[2])] = words
    return named


def _named(groups: str, mounts: list[Mount]) -> Iterator[Path]:
    for line in groups.splitlines():
        _, controllers, group = line.split(":", 2)
        for mount in mounts:
            if not controllers and mount.kind == "cgroup2":
                yield _folder(mount, group) / "memory.events"
            if "memory" in controllers.split(",") and "memory" in mount.options:
                yield _folder(mount, group) / "memory.oom_control"


def _mounts(mountinfo: str) -> Iterator[Mount]:
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(), after.split()[:3]
        if kind in ("cgroup", "cgroup2"):
            yield Mount(kind, _plain(fields[3]), _plain(fields[4]), tuple(options.split(",")))


def _plain(escaped: str) -> str:
    return OCTAL.sub(lambda found: chr(int(found[1], 8)), escaped)


def _folder(mount: Mount, group: str) -> Path:
    """Where the group lies: without a namespace of its own a container sees only its part."""
    inside = Path(group)
    if inside.is_relative_to(mount.root):
        inside = inside.relative_to(mount.root)
    return Path(mount.point, *(part for part in inside.parts if part != "/"))


class KernelLog:
    """What the kernel says from now on, where this process may hear it and can understand it."""

    def __init__(self, path: Path = KERNEL_LOG) -> None:
        self._victims: dict[int, str] = {}
        self._file: int | None = None
        with contextlib.suppress(OSError):
            self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            weakref.finalize(self, os.close, self._file)
            os.lseek(self._file, 0, os.SEEK_END)

    def victims(self) -> dict[int, str]:
        """The kernel's words about each process that it has killed since, by pid."""
        for records in self._new():
            # The line that says how much it held comes last, and is the better one to keep.
            self._victims |= victims(records.decode(errors="replace"))
        return self._victims

    def _new(self) -> Iterator[bytes]:
        while self._file is not None:
            try:
                records = os.read(self._file, RECORD_BYTES)
            except BrokenPipeError:  # the oldest were overwritten before we came
                continue
            except OSError:
                return
            if not records:
                return
            yield records


def first_pid_namespace(process: Path = PROCESS) -> bool:
    """Whether pids are here what they are for the kernel."""
    try:
        return (process / "ns" / "pid").stat().st_ino == FIRST_PID_NAMESPACE
    except OSError:
        return False


# A kill explains one trainer's end. Without this a bare SIGKILL would be laid to a kill that the
# counter has shown since, and that was another trainer's.
_explained: Counter[Path] = Counter()
_lock = threading.Lock()


class OomEvidence:
    """Takes note when a trainer starts, so that what came after can be told. Never raises.

    Args:
        process: this process's folder in /proc; the trainer is in the same control groups.
        log: None where pids mean something else to the kernel.

    """

    def __init__(self, process: Path = PROCESS, log: KernelLog | None = None) -> None:
        if log is None and first_pid_namespace(process):
            log = KernelLog()
        self._log = log
        with _lock:
            self._before = {
                path: count - _explained[path]
                for path in counter_files(process)
                if (count := count_kills(path)) is not None
            }

    def of(self, pid: int) -> str | None:
        """What speaks for it that the kernel killed the trainer for want of memory, or None.

        Args:
            pid: the trainer's, as its parent sees it.

        """
        named = self._log.victims() if self._log else {}
        counted = self._counted() if pid in named or not named else None
        # A log that names only others is believed: it was one of them that was counted.
        return f"the kernel's log: {named[pid]}" if pid in named else counted

    def _counted(self) -> str | None:
        found = None
        with _lock:
            for path, before in self._before.items():
                count = count_kills(path)
                if count is not None and count - _explained[path] > before:
                    _explained[path] += 1
                    found = f"the cgroup's {path.name} counts one more oom_kill ({count})"
        return found
