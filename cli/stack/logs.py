"""The parts' log files: read at the end, and kept from growing without bound."""

import os
import shutil
from pathlib import Path

_TAIL_BYTES = 8_192
LOG_BYTES = 10 * 2**20


def last_lines(log: Path, count: int = 15) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
    except FileNotFoundError:
        return ""


def open_log(log: Path) -> int:
    """A descriptor that appends, so that the file can be cut while a part writes to it."""
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def bound(log: Path, most_bytes: int = LOG_BYTES) -> None:
    """Keep one older file beside the log once it is too long.

    Copied and cut, not renamed: the part holds the file open, and must be able to write on after
    this process was killed. Lines written between the copy and the cut are lost.
    """
    try:
        if log.stat().st_size <= most_bytes:
            return
    except FileNotFoundError:
        return
    shutil.copyfile(log, log.with_name(f"{log.name}.1"))
    os.truncate(log, 0)
