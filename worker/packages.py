"""What the packages on a worker's list define, found where they are installed: none is imported.

Importing them would run their code in the worker, or cost a process and seconds a start; their
text says the same, but for what a module makes up while it runs: see `definitions_in`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from models.domain.entrypoints import entrypoints_in
from models.domain.offers import Names, Offer, Offers
from models.domain.spec.entrypoint import package_of
from worker.definitions import Definitions, definitions_in
from worker.training.errors import EntryPointMissing, EntryPointRefused
from worker.training.installed import modules_of, version_of

MOST_MODULES = 2_000
MOST_NAMES = 5_000
"""In one package; of a larger one nothing but its name is told."""
MOST_MODULE_BYTES = 2**20


def offers_of(packages: Sequence[str]) -> Offers:
    """What each of the packages offers; one that is not installed offers nothing."""
    offers = {name: offer for name in packages if (offer := _offer(name, packages))}
    return MappingProxyType(offers)


def require_offered(spec: Mapping[str, object], packages: Sequence[str]) -> None:
    """Hold the entry points of a resolved spec to the list and to what is installed now.

    Raises:
        EntryPointRefused: a package is not on the list.
        EntryPointMissing: its package is not installed, or does not define it.

    """
    for name in entrypoints_in(spec).values():
        package = package_of(name)
        if package not in packages:
            raise EntryPointRefused(name, f"{package} is not on this worker's list of packages")
        module, _, attribute = name.partition(":")
        files = dict(modules_of(package))
        if module not in files:
            raise EntryPointMissing(name, f"there is no module {module} here")
        defined = _Reader(files, packages).names_of(module)
        if defined is not None and attribute not in defined:
            raise EntryPointMissing(name, f"{module} does not define {attribute} here")


def _offer(package: str, packages: Sequence[str]) -> Offer | None:
    files = dict(modules_of(package))
    if len(files) > MOST_MODULES:
        return Offer(version_of(package), None)
    reader = _Reader(files, packages)
    modules: dict[str, Names] = {}
    names = 0
    for module in files:
        modules[module] = defined = reader.names_of(module)
        names += len(defined or ())
        if names > MOST_NAMES:
            return Offer(version_of(package), None)
    return Offer(version_of(package), modules) if modules else None


class _Reader:
    """Reads modules of one package, each once, and those that they take over whole."""

    def __init__(self, files: Mapping[str, Path], packages: Sequence[str]) -> None:
        self._files, self._packages = files, packages
        self._read: dict[str, Definitions] = {}

    def names_of(self, module: str) -> Names:
        """The names that a module defines, sorted; None where nobody can tell."""
        names: set[str] = set()
        waiting, seen = [module], {module}
        while waiting:
            found = self._definitions(waiting.pop())
            if found.anything:
                return None
            names |= found.names
            waiting += [star for star in found.stars if star not in seen]
            seen |= {*found.stars}
        return tuple(sorted(names))

    def _definitions(self, module: str) -> Definitions:
        if module not in self._read:
            self._read[module] = self._look_at(module)
        return self._read[module]

    def _look_at(self, module: str) -> Definitions:
        """Anything, of what is no text, is too long to be read, or lies in another package."""
        file = self._files.get(module)
        try:
            if file is None or file.suffix != ".py" or file.stat().st_size > MOST_MODULE_BYTES:
                return Definitions(anything=True)
            text = file.read_bytes()
        except OSError:
            return Definitions()
        whole = file.stem == "__init__"
        return definitions_in(text, self._packages, module, package=whole)
