"""Which account a server runs as, and what it needs to reach its folders.

PostgreSQL refuses to run as root, so a root `up` takes an unprivileged account that is there.
Nothing about the machine is changed: no account is made, no parent folder's mode is touched.
"""

import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.stack import unprivileged
from cli.stack.errors import FolderUnreachable, NoAccount

_PREFERRED = ("postgres", "nobody", "daemon")
# The lesser right first: searching and reading; the other one may also write, but is all that a
# container's default set has.
_CAP_DAC_READ_SEARCH = 2
_CAP_DAC_OVERRIDE = 1
_PROBE = 'for path; do test -r "$path" && test -x "$path" || exit 1; done'


@dataclass(frozen=True, slots=True)
class Account:
    """Who a server runs as.

    `uid` None is "as we are": the ordinary case of a user who isn't root. `capability` is the
    number of the one capability that the account is lent so that it can search folders.
    """

    uid: int | None = None
    gid: int | None = None
    name: str = "this user"
    capability: int | None = None

    def command(self, command: Sequence[str]) -> list[str]:
        """The command as it is to be started: behind the exec wrapper where that is needed."""
        if self.capability is None:
            return list(command)
        wrapper = [sys.executable, "-I", "-S", str(Path(unprivileged.__file__).resolve())]
        return [*wrapper, str(self.uid), str(self.gid), str(self.capability), *command]

    def identity(self) -> "Identity":
        """What `subprocess.Popen` is told; the wrapper changes the account itself."""
        if self.uid is None or self.gid is None or self.capability is not None:
            return Identity()
        return Identity(user=self.uid, group=self.gid, extra_groups=())

    def own(self, path: Path) -> None:
        """Give a file or folder of ours to the account."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    @property
    def effective_uid(self) -> int:
        return os.geteuid() if self.uid is None else self.uid


@dataclass(frozen=True, slots=True)
class Identity:
    user: int | None = None
    group: int | None = None
    extra_groups: Sequence[int] | None = None


def account_for(data: Path, needed: Sequence[Path]) -> Account:
    """The account that runs a server whose data folder is `data`.

    Args:
        data: the server's data folder; where it exists, its owner goes on owning it.
        needed: programs and folders that the account must be able to enter and read.

    Raises:
        NoAccount: root, and there is no other account.
        FolderUnreachable: root, and neither the folders' modes nor a capability let it through.

    """
    if os.geteuid() != 0:
        return Account()
    plain = _owner_of(data) or _preferred()
    if _reaches(plain, needed):
        return plain
    for capability in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE):
        lent = Account(plain.uid, plain.gid, plain.name, capability)
        if _may_lend(capability) and _reaches(lent, needed):
            return lent
    path, folder = _obstacle(plain, needed)
    raise FolderUnreachable(folder, path, plain.name)


def _owner_of(data: Path) -> Account | None:
    if not data.exists():
        return None
    facts = data.stat()
    if facts.st_uid == 0:
        return None
    try:
        name = pwd.getpwuid(facts.st_uid).pw_name
    except KeyError:
        return None
    return Account(facts.st_uid, facts.st_gid, name)


def _preferred() -> Account:
    for name in _PREFERRED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        account = Account(entry.pw_uid, entry.pw_gid, name)
        if entry.pw_uid != 0 and _runs(account, ["/bin/sh", "-c", ":"]):
            return account
    raise NoAccount


def _may_lend(capability: int) -> bool:
    status = Path("/proc/self/status")
    if not status.exists():
        return False
    for line in status.read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> capability & 1)
    return False


def _reaches(account: Account, paths: Sequence[Path]) -> bool:
    """Asked of the kernel, in a process of that account: access lists and mounts count too."""
    return _runs(account, ["/bin/sh", "-c", _PROBE, "sh", *map(str, paths)])


def _runs(account: Account, command: Sequence[str]) -> bool:
    who = account.identity()
    try:
        done = subprocess.run(
            account.command(command),
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            user=who.user,
            group=who.group,
            extra_groups=who.extra_groups,
        )
    except OSError:  # the account's number is not mapped in this container
        return False
    return done.returncode == 0


def _obstacle(account: Account, paths: Sequence[Path]) -> tuple[Path, Path]:
    """The first path that the account can't reach, and the folder that stops it."""
    for path in paths:
        for folder in (*reversed(path.absolute().parents), path):
            if not _runs(account, ["/bin/sh", "-c", 'test -x "$1"', "sh", str(folder)]):
                return path, folder
    return paths[0], paths[0].parent
