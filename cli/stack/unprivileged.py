"""Become an unprivileged account, keep one capability, and turn into another program.

Run by path, as root: `python -I -S unprivileged.py UID GID CAPABILITY PROGRAM ARGUMENT…`.
It is needed where the servers' programs or data lie below a folder that only root may enter: a
clone in `mktemp -d`, say. No folder's mode is changed; the program gets, as an ambient
capability, the right to search folders, and nothing else of root's.

A process of its own instead of a `preexec_fn`, which is not safe beside threads. Linux only.
"""

import ctypes
import os
import sys

_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_PR_SET_SECUREBITS = 28
# access(2) drops the capabilities of a process whose real user is not root, unless this bit is
# set; and PostgreSQL asks access(2) whether its own program may be run.
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_CAPABILITY_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def become(uid: int, gid: int, capability: int) -> None:
    """Drop to the account with exactly that capability; OSError where the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0))
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    header = _Header(_CAPABILITY_VERSION_3, 0)
    word = 1 << capability  # both capabilities that we hand on are in the first 32
    sets = (_Sets * 2)(_Sets(word, word, word), _Sets(0, 0, 0))
    _checked(libc.capset(ctypes.byref(header), ctypes.byref(sets)))
    _checked(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def main(arguments: list[str]) -> None:
    uid, gid, capability = (int(word) for word in arguments[:3])
    command = arguments[3:]
    become(uid, gid, capability)
    os.execv(command[0], command)  # noqa: S606  (a shell is what we don't want)


if __name__ == "__main__":
    main(sys.argv[1:])
