"""What must be so before anything is started; each refusal names its cure."""

import errno
import os
import shutil
import socket
import sys
from pathlib import Path

from cli.stack.errors import DiskFull, HostUnusable, PortTaken, PythonTooOld

NEEDED_BYTES = 500 * 10**6
OLDEST_PYTHON = (3, 11)


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> None:
    if version < OLDEST_PYTHON:
        raise PythonTooOld(version, OLDEST_PYTHON)


def check_room(folder: Path, needed_bytes: int = NEEDED_BYTES) -> None:
    """There is room on the disk that holds `folder`, which need not be there yet."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < needed_bytes:
        raise DiskFull(folder, free_bytes, needed_bytes)


def check_listening(host: str, port: int) -> None:
    """Somebody could listen on that address now.

    Raises:
        PortTaken: another process does.
        HostUnusable: the address is none of this machine, or the port is kept for root.

    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # As servers do: connections of the last run that are still closing don't matter.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(host, port) from error
        raise HostUnusable(host, port, _reason(error)) from error


def _reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "no such address"
    return os.strerror(error.errno) if error.errno else str(error)
