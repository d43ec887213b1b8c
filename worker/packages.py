"""What the packages on a worker's list define, found where they are installed: none is imported.

Importing them would run their code in the worker, or cost a process and seconds a start; their
text says the same, but for what a module makes up while it runs: see `defined_in`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from models.domain.entrypoints import entrypoints_in
from models.domain.offers import Names, Offer, Offers
from models.domain.spec.entrypoint import package_of
from worker.definitions import defined_in
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
        defined = _defined(files[module], packages)
        if defined is not None and attribute not in defined:
            raise EntryPointMissing(name, f"{module} does not define {attribute} here")


def _offer(package: str, packages: Sequence[str]) -> Offer | None:
    modules: dict[str, Names] = {}
    names = 0
    for module, file in modules_of(package):
        modules[module] = defined = _defined(file, packages)
        names += len(defined or ())
        if len(modules) > MOST_MODULES or names > MOST_NAMES:
            return Offer(version_of(package), None)
    return Offer(version_of(package), modules) if modules else None


def _defined(file: Path, packages: Sequence[str]) -> Names:
    """None, anything, of what is no text, or is too long to be read."""
    try:
        if file.suffix != ".py" or file.stat().st_size > MOST_MODULE_BYTES:
            return None
        return defined_in(file.read_bytes(), packages)
    except OSError:
        return ()
